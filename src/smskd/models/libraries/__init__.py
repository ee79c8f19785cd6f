"""Networks of timm, torchvision and transformers: made by name, with the features that each library knows of its own.

- ``names``: ``timm/NAME``, ``torchvision/NAME``, ``transformers/FOLDER-or-ID``.
- ``making``: makes one; ``timm_making``, ``torchvision_making`` and ``transformers_making`` call the library.
- ``native``: the features that a network's own library knows, whoever has made the network.
- ``timm_model``, ``torchvision_features``, ``transformers_features``: those of each library.

No library is imported before a network of it is met.
"""
