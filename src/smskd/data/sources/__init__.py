"""Data sources: callables that read a data set, by name.

``catalog`` lists the built-in ones, ``options`` checks the options of any, ``map_style`` makes a data set of the
map-style data sets of a third-party source. ``digits``, ``cifar``, ``parquet``, ``image_folder``, ``tiny_imagenet``,
``imagenet``, ``webdataset`` and ``hf`` are the built-in sources; the other files help them.
"""
