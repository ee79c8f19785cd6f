"""The command line."""

from smskd.cli.app import main

__all__ = ["main"]
