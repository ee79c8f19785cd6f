"""Comparing finished runs: ``compare`` aggregates over seeds, ``tables`` and ``format`` write the results."""
