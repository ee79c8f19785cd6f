"""Damages encoded images and Parquet files at random and loads them: run as a program, within a limit of memory."""

import io
import random
import resource
import sys
import tempfile
from pathlib import Path

from PIL import Image

from smskd import data
from smskd.data.sources.image_decoding import ImageForm, decode_image
from smskd.errors import UserError
from tests.support.parquet_files import NAMES, pixels, write

FORMATS = {"PNG": {}, "JPEG": {}, "GIF": {}, "BMP": {}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {}, "PPM": {}}
MEMORY = 6 * 2**30
"""Bytes of address space: libraries of several hundred megabytes are in it, and the stacks of threads."""


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
    Image.fromarray(pixels(1, size=(16, 12))[0]).save(file, kind, **FORMATS[kind], **more)
    return file.getvalue()


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Some bytes replaced, or the end cut off, or a part removed."""
    broken = bytearray(content)
    kind = draw.randrange(4)
    if kind == 0:
        return content[: draw.randrange(len(content))]
    if kind == 1:
        begin = draw.randrange(len(content))
        del broken[begin : begin + draw.randrange(1, 20)]
        return bytes(broken)
    for _ in range(draw.choice((1, 1, 2, 8))):
        place = draw.randrange(len(broken))
        broken[place] = draw.randrange(256) if kind == 2 else draw.choice((0, 255, broken[place] ^ 128))
    return bytes(broken)


def outcome(load) -> str:
    """Whether it loads or is refused; everything else is raised."""
    try:
        load()
    except UserError as error:
        if "\n" in str(error):
            raise
        return "refused"
    return "loaded"


def images(tries: int, seed: int) -> list[str]:
    draw, form, found = random.Random(seed), ImageForm((3, 8, 8), resize=True), []
    for kind in FORMATS:
        content = encoded(kind)
        found += [outcome(lambda c=content: decode_image(damaged(c, draw), "row 0", form)) for _ in range(tries)]
    return found


def parquet_files(tries: int, seed: int) -> list[str]:
    draw, found = random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "test.parquet", pixels(2), [0, 1], names=NAMES)
        write(root / "train.parquet", pixels(40), [row % 3 for row in range(40)], names=NAMES, group=16)
        whole = (root / "train.parquet").read_bytes()
        for _ in range(tries):
            (root / "train.parquet").write_bytes(damaged(whole, draw))
            found.append(outcome(lambda: data.load("parquet", root=root)))
    return found


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tries, seed = int(sys.argv[1]), int(sys.argv[2])
    for result in (images(tries, seed), parquet_files(4 * tries, seed)):
        print(len(result), result.count("loaded"), result.count("refused"))
