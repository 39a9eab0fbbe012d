"""Crash images: the folder as it may look after power loss at every point, opened and checked by the real code."""
