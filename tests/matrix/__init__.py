"""Architectures of other libraries, each as teacher and as student with every method."""
