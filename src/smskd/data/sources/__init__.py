"""Data sources: callables that read a data set, by name.

``catalog`` lists the built-in ones, ``options`` checks the options of any, ``map_style`` makes a data set of the
map-style data sets of a third-party source. ``digits``, ``cifar``, ``parquet`` and ``image_folder`` are the built-in
sources; ``parquet_files``, ``parquet_columns`` and ``image_decoding`` help them.
"""
