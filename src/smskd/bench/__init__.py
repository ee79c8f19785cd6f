"""Benchmarks: a training step beside that of a baseline loop, and a whole run.

``case`` is what is timed, ``step`` times our loop and the baseline loop in turn, ``run`` times a recipe. The baseline
loop is written as published code is: ``baseline_data``, ``baseline_losses`` and ``baseline_loop``; ``baseline_turns``
trains it on copies of our networks, and ``baseline_process`` gives it a process of its own.
"""
