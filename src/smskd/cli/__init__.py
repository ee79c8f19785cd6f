"""The command line.

``app`` defines the commands, with their options in ``arguments``; each command imports its implementation when it is
called, so that help and completion do not import torch. ``program`` runs them, and prints one line where they end
early.
"""


def main() -> None:
    """Runs the program. A user's mistake is printed in one line, with exit code 2."""
    from smskd.cli.exits import INTERRUPTED, end
    from smskd.cli.streams import prepare_streams

    try:
        prepare_streams()
        from smskd.cli.program import run_program

        run_program()
    except KeyboardInterrupt:  # while modules are imported, or an exit is under way
        end("stopped", INTERRUPTED)


__all__ = ["main"]
