"""Several processes that train one run, each with its part of every batch.

``launch`` starts them, ``processes`` is what they say to each other, and ``rows``, ``batch_norm``, ``gradients`` and
``draws`` make of several parts what one process makes of the whole batch. Nothing here knows of distillation.
"""
