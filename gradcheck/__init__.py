"""Decide whether a gradient is right."""

__version__ = "0.1.0"
