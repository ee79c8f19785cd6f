"""The chart engine, run as a program of its own: V8 ends the whole process on some inputs, and where memory is limited.

``python engine_process.py FOLDER`` reads ``request.json`` in the folder and writes one file for each of its entries. It
imports nothing of this package, so that it starts quickly and needs no search path.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path

REQUEST = "request.json"


def main(folder: Path) -> None:
    """Carries out a request: ``{"vega_lite": "6.1", "charts": {file: specification}, "library": file or null}``."""
    import vl_convert

    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    version = request["vega_lite"]
    if request["library"] is not None:
        bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
        (folder / request["library"]).write_text(bundle, encoding="utf-8")
    for name, specification in request["charts"].items():
        svg = vl_convert.vegalite_to_svg(specification, vl_version=version, allowed_base_urls=[])
        (folder / name).write_text(svg, encoding="utf-8")


def _without_core_file() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _without_core_file()
    main(Path(sys.argv[1]))
