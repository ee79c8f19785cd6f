"""The files of Tiny ImageNet, as its archive unpacks, with a few small images."""

from pathlib import Path

import numpy as np
from PIL import Image

IDS = ("n03", "n01", "n02")
"""In the order of ``wnids.txt``, which is not ascending."""

TRAIN, TEST, SIDE = 4, 6, 8
"""Training images of a class, all test images, pixels."""


def save(path: Path, seed: int, side: int = SIDE, mode: str = "RGB") -> None:
    """Writes an image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path, "JPEG")


def write_tiny_imagenet(root: Path, ids: tuple[str, ...] = IDS, train: int = TRAIN, side: int = SIDE) -> Path:
    """Writes it to a folder, which is returned."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "wnids.txt").write_text("".join(f"{name}\n" for name in ids))
    (root / "words.txt").write_text("".join(f"{name}\tword of {name}, synonym\n" for name in ids))
    for number, name in enumerate(ids):
        for image in range(train):
            save(root / "train" / name / "images" / f"{name}_{image}.JPEG", 1000 * number + image, side)
        boxes = "".join(f"{name}_{image}.JPEG\t0\t0\t7\t7\n" for image in range(train))
        (root / "train" / name / f"{name}_boxes.txt").write_text(boxes)
    lines = []
    for image in range(TEST):
        save(root / "val" / "images" / f"val_{image}.JPEG", 10**6 + image, side)
        lines.append(f"val_{image}.JPEG\t{ids[image % len(ids)]}\t0\t0\t7\t7\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    save(root / "test" / "images" / "test_0.JPEG", 2 * 10**6, side)
    return root
