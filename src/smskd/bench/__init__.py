"""What ``smskd bench`` times: the training loop, in turn with one that is written as usual.

The other loop, ``plain_loop.py``, lies in ``benchmarks/``. An installed package has it here; in a checkout it is found
there, by a path from which worker processes can import it too.
"""

from pathlib import Path

_CHECKOUT = Path(__file__).parents[3] / "benchmarks"

if not (Path(__file__).parent / "plain_loop.py").is_file():
    __path__.append(str(_CHECKOUT))
