"""Distillation methods, one file each; :mod:`smskd.methods.discovery` finds them by name.

Importing this package imports none of them.
"""
