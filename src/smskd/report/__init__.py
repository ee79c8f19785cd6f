"""Charts of runs, and the HTML page that contains them.

``accuracy_chart``, ``loss_chart`` and ``outcome_chart`` draw one run, ``comparison_charts`` several recipes; ``marks``,
``stage_marks`` and ``theme`` are their parts. ``page`` writes a single HTML file, ``sections`` prepares its tables.
"""
