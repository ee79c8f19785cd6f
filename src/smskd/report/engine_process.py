"""The chart engine, run as a program of its own: V8 ends the whole process on some inputs, and where memory is limited.

``python engine_process.py FOLDER`` reads ``request.json`` in the folder and writes one file for each of its entries. It
imports nothing of this package, so that it starts quickly and needs no search path.
"""

import json
import re
import sys
from contextlib import suppress
from pathlib import Path

REQUEST = "request.json"

PIXELS_PER_INCH = 300
"""Of PNG files."""


def main(folder: Path) -> None:
    """Carries out a request: ``{"vega_lite": "6.1", "charts": {file: specification}, "library": file or null}``.

    The form of a chart, SVG, PDF or PNG, is that of the ending of its file.
    """
    import vl_convert

    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    version = request["vega_lite"]
    if request["library"] is not None:
        bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
        (folder / request["library"]).write_text(bundle, encoding="utf-8")
    for name, specification in request["charts"].items():
        svg = vl_convert.vegalite_to_svg(specification, vl_version=version, allowed_base_urls=[])
        (folder / name).write_bytes(_converted(svg, name))


def _converted(svg: str, name: str) -> bytes:
    """The chart in the form of the ending of a file's name."""
    import vl_convert

    if name.endswith(".pdf"):
        return bytes(vl_convert.svg_to_pdf(_in_points(svg)))
    if name.endswith(".png"):
        return bytes(vl_convert.svg_to_png(_in_points(svg), scale=1, ppi=PIXELS_PER_INCH))
    return svg.encode("utf-8")


def _in_points(svg: str) -> str:
    """The same drawing with its size in points: PDF has 72 of them in an inch, CSS 96 pixels."""
    root, rest = svg.split(">", 1)
    for name in ("width", "height"):
        size = re.search(rf' {name}="([\d.]+)"', root)
        if size is not None:
            root = root.replace(size[0], f' {name}="{0.75 * float(size[1])}"')
    return f"{root}>{rest}"


def _without_core_file() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _without_core_file()
    main(Path(sys.argv[1]))
