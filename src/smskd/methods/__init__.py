"""Distillation methods, one file each; :mod:`smskd.registry` finds them by name.

Importing this package imports none of them.
"""
