"""``python -m smskd``: the command line."""

from smskd.cli import main

if __name__ == "__main__":
    main()
