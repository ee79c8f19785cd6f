"""Test samples that a stage has forgotten, as small pictures for the page of a run."""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from smskd.data import TextDataset
from smskd.data.samples import Split, read_image
from smskd.diagnostics.result import RunAnalysis, StageAnalysis
from smskd.diagnostics.transfer import Transfer
from smskd.report.figure import Picture, Pictures
from smskd.runs.reader import Run
from smskd.session import reopen_folder

MOST = 24
"""Samples on a page; of several stages each has its share, but not less than ``LEAST``."""

LEAST = 6

_SIDE = 96
"""Pixels of the longer side of a picture, at most."""

_SHARP = 48
"""Pixels up to which a picture is stored without loss."""


def forgotten_samples(run: Run, found: RunAnalysis, *, trust: bool = False) -> Iterator[Pictures]:
    """Samples that each stage has forgotten, evenly spaced over all of them.

    Args:
        run: a finished run on images; of texts there are no pictures.
        found: its analysis.
        trust: import the Python objects that the run's recipe names.
    """
    stages = [(stage, moved) for stage in found.stages if (moved := stage.parts["test"].transfer) and moved.forgotten]
    if not stages:
        return
    dataset = reopen_folder(Path(run.path), trust=trust).load()
    if isinstance(dataset, TextDataset):
        return
    share = max(LEAST, MOST // len(stages))
    for stage, moved in stages:
        yield _group(stage, moved, dataset.test, dataset.class_names, share)


def _group(stage: StageAnalysis, moved: Transfer, test: Split, names: Sequence[str], share: int) -> Pictures:
    places = _spaced(len(moved.forgotten), share)
    rows = [moved.forgotten[place] for place in places]
    truths = _labels(test, rows)
    items = [
        Picture(
            source=_address(read_image(test, row)),
            text="",
            lines=(f"{names[truth]} → {names[moved.mistaken_for[place]]}", f"test image {row:,}"),
        )
        for place, row, truth in zip(places, rows, truths, strict=True)
    ]
    shown = "all" if len(items) == len(moved.forgotten) else f"{len(items)} of"
    return Pictures(
        heading=f"Forgotten in stage {stage.stage}: {' + '.join(stage.methods) or 'plain'}",
        note=(
            f"{shown.capitalize()} {len(moved.forgotten):,} test images that the student classified correctly at the "
            "start of the stage and wrongly at its end: the true class → the class that is predicted now."
        ),
        items=items,
    )


def _labels(test: Split, rows: Sequence[int]) -> list[int]:
    known = test.known_labels()
    return [int(test[row][1]) if known is None else int(known[row]) for row in rows]


def _spaced(count: int, wanted: int) -> list[int]:
    """At most so many of ``range(count)``, at equal distances, with the first and the last."""
    if count <= wanted:
        return list(range(count))
    return [int(place) for place in torch.linspace(0, count - 1, wanted)]


def _address(image: Tensor) -> str:
    """An image, [channels, height, width], bytes or floats of any range, as a ``data:`` address of a small picture."""
    from PIL import Image

    pixels = image.cpu()
    if pixels.is_floating_point():
        low, high = pixels.min(), pixels.max()
        pixels = (255 * (pixels - low) / (high - low).clamp(min=1e-12)).round().to(torch.uint8)
    pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1]  # of other numbers of channels the first
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    picture.thumbnail((_SIDE, _SIDE))
    form = "PNG" if max(picture.size) <= _SHARP else "JPEG"
    out = io.BytesIO()
    picture.save(out, form, **({"quality": 85} if form == "JPEG" else {}))
    return f"data:image/{form.lower()};base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
