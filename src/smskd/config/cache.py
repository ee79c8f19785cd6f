"""How a cache is kept, and where."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from smskd.config.sizes import in_bytes
from smskd.errors import UserError, nearest, require_count

CacheMode = Literal["off", "memory", "disk", "replay"]
MODES: tuple[CacheMode, ...] = get_args(CacheMode)

FOLDER_VARIABLE = "SMSKD_CACHE"


@dataclass(frozen=True)
class CacheConfig:
    """How the teacher's outputs are kept.

    Args:
        mode: ``off``; ``memory``: for one run, on the device if they fit there; ``disk``: in files, for all runs and
            processes; ``replay``: in files, by (epoch, sample), for transforms whose outcomes cannot be counted.
        folder: of the files; by default that of the environment variable SMSKD_CACHE, or ``smskd`` in the user's
            folder for caches.
        limit: in bytes, or as ``16GB``; what would take more is refused before training.
        top: how many of the largest logits ``replay`` keeps of each picture. The other classes get the probability
            that is left, in equal parts. With no more classes than that all logits are kept.

    Raises:
        UserError: no such mode, or a limit that is no size.
    """

    mode: CacheMode = "off"
    folder: str | Path | None = None
    limit: str | int = "16GB"
    top: int = 64

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"the teacher's cache cannot be '{self.mode}'{nearest(str(self.mode), MODES)}")
        in_bytes(self.limit)
        require_count(top=self.top)

    @property
    def path(self) -> Path:
        """The folder of the files."""
        return default_folder() if self.folder is None else Path(self.folder).expanduser()


def default_folder() -> Path:
    """Where caches are kept if nothing else is said."""
    own = os.environ.get(FOLDER_VARIABLE)
    if own:
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/smskd").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "smskd"
