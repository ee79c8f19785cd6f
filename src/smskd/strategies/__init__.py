"""Strategies: each turns the methods of a recipe into stages, and may bring an objective of its own for them.

A strategy is a file here, an installed entry point of the group ``smskd.strategies``, ``package.module:Name``, or an
object.
"""
