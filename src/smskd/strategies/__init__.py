"""Strategies: each turns the methods of a recipe into stages."""
