"""Loaders: batches from images in memory or from a map-style data set."""
