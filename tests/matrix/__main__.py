"""Writes the taps of the architectures, and the results of every method with each of them: `make matrix`.

The taps are for reading: a change in ``taps.yaml`` is a change of what methods read of an architecture. Results are
written after each architecture; `python -m tests.matrix --missing` goes on where they end.
"""

import argparse
import sys

from tests.support.architectures import ARCHITECTURES
from tests.support.matrix_files import failures, read_results, write_results, write_taps
from tests.support.model_matrix import METHOD_NAMES, ROLES, outcomes, taps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures whose results are computed anew (default: all)")
    parser.add_argument("--taps", action="store_true", help="write the taps alone, which takes a minute")
    parser.add_argument("--missing", action="store_true", help="compute only results that are not there")
    arguments = parser.parse_args()
    if not arguments.missing and not arguments.names:
        write_taps({name: taps(name) for name in ARCHITECTURES})
    if arguments.taps:
        return 0
    kept = read_results() if arguments.missing or arguments.names else {}
    results = {name: dict(kept.get(name, {})) for name in ARCHITECTURES}
    for name in arguments.names or ARCHITECTURES:
        for role in ROLES:
            if not (arguments.missing and role in results[name]):
                results[name][role] = outcomes(name, role, METHOD_NAMES)
                write_results({own: roles for own, roles in results.items() if roles})
                print(name, role, flush=True)
    wrong = failures(results)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
