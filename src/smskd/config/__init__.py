"""Frozen dataclasses that hold every setting of a run with its default and range."""
