"""Interfaces that models, loss terms, objectives and strategies implement or receive. Imports torch alone."""
