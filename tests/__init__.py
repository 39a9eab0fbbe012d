"""Tests of docstore, and the tools that they share."""
