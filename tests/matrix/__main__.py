"""Writes the taps of the architectures, and the results of every method with each of them: `make matrix`.

The taps are for reading: a change in ``taps.yaml`` is a change of what methods read of an architecture.
"""

import argparse

from tests.support.architectures import ARCHITECTURES
from tests.support.matrix_files import write_results, write_taps
from tests.support.model_matrix import METHOD_NAMES, ROLES, outcomes, taps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--taps", action="store_true", help="write the taps alone, which takes a minute")
    if parser.parse_args().taps:
        write_taps({name: taps(name) for name in ARCHITECTURES})
        return
    write_taps({name: taps(name) for name in ARCHITECTURES})
    results = {}
    for name in ARCHITECTURES:
        results[name] = {role: outcomes(name, role, METHOD_NAMES) for role in ROLES}
        print(name, flush=True)
    write_results(results)


if __name__ == "__main__":
    main()
