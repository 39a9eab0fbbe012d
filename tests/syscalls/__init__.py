"""System calls of the real library: recorded, counted, and made to fail."""
