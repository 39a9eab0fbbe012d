"""Stores that released versions wrote, and what makes one."""
