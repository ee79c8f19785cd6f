"""Benchmarks: a training step and a whole run, each beside a baseline loop that is written as published code is."""
