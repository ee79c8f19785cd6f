"""Damage to the files of a run: each region of each file flipped, overwritten, cut off or emptied."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KINDS = ("flipped bit", "zeros", "truncated", "emptied", "removed")


@dataclass(frozen=True)
class Damage:
    """Damage to a file.

    Attributes:
        file: path relative to a folder.
        kind: one of :data:`KINDS`.
        region: number of the region of the file that is hit.
        regions: number of regions that the file is divided into.
    """

    file: str
    kind: str
    region: int = 0
    regions: int = 1

    def __str__(self) -> str:
        where = f", region {self.region + 1} of {self.regions}" if self.regions > 1 else ""
        return f"{self.file}: {self.kind}{where}"

    def inflict(self, folder: Path) -> None:
        """Damages the file in a folder."""
        path = folder / self.file
        content = bytearray(path.read_bytes())
        start = len(content) * self.region // self.regions
        end = max(start + 1, len(content) * (self.region + 1) // self.regions)
        at = random.Random(str(self)).randrange(start, end) if content else 0
        if self.kind == "removed":
            path.unlink()
            return
        if self.kind == "flipped bit":
            content[at] ^= 1 << random.Random(f"bit of {self}").randrange(8)
        elif self.kind == "zeros":
            content[at : at + 16] = bytes(len(content[at : at + 16]))
        else:
            del content[0 if self.kind == "emptied" else at :]
        path.write_bytes(bytes(content))


def damages(files: list[str], regions: int) -> Iterator[Damage]:
    """Every kind of damage to every file; those to a part of it in every region."""
    for file in files:
        for kind in KINDS:
            for region in range(1 if kind in ("emptied", "removed") else regions):
                yield Damage(file, kind, region, 1 if kind in ("emptied", "removed") else regions)


def files_in(folder: Path) -> list[str]:
    """All files below a folder that are not empty."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
