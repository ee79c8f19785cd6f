"""The command line.

``app`` defines the commands, with their options in ``arguments``; each command imports its implementation when it is
called, so that help and completion do not import torch.
"""

from smskd.cli.app import main

__all__ = ["main"]
