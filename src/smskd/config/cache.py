"""How a cache is kept, and where."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from smskd.config.base import Config, SettingError
from smskd.config.numbers import Count
from smskd.config.paths import expanded
from smskd.config.sizes import EXPECTED, in_bytes
from smskd.errors import UserError

CacheMode = Literal["off", "memory", "disk", "replay"]
Ahead = Literal["auto", "always", "never"]
MODES: tuple[CacheMode, ...] = get_args(CacheMode)

FOLDER_VARIABLE = "SMSKD_CACHE"


def _as_text(size: Any) -> Any:
    return str(size) if isinstance(size, int) and not isinstance(size, bool) else size


def _checked(size: str) -> str:
    try:
        in_bytes(size)
    except UserError:
        raise PydanticCustomError("size", EXPECTED) from None
    return size


Size = Annotated[str, BeforeValidator(_as_text), AfterValidator(_checked)]
"""A size in bytes: 16GB, 500 MB, 2e9."""


@dataclass(frozen=True)
class CacheConfig(Config):
    """How the teacher's logits and pooled features are kept, as float16.

    Attributes:
        mode: ``off``; ``memory``: for one run, on the device if they fit there; ``disk``: in files, for all runs and
            processes; both by sample and augmentation variant, for images of bytes. ``replay``: in files, by epoch and
            sample, for random transforms whose outcomes cannot be counted. A replay repeats the images of the first
            such run: their order and random draws follow from that run's seed.
        folder: of the files; None: that of the environment variable SMSKD_CACHE, or ``smskd`` in the user's folder for
            caches.
        limit: a cache that could become larger is refused before training.
        top: how many of the largest logits ``replay`` keeps of each image. The remaining probability is divided
            equally among the other classes. With no more classes than that all logits are kept.
        ahead: whether the outputs for all images are computed before training, in full chunks of images: ``auto``
            where that takes fewer chunks than the images that would be missing in the epochs to come, ``always`` or
            ``never``. For images of bytes in memory whose only random changes are crop and flip.
    """

    mode: CacheMode = "off"
    folder: str | None = None
    limit: Size = "16GB"
    top: Count = 64
    ahead: Ahead = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ahead == "always" and self.mode not in ("memory", "disk"):
            raise SettingError(f"'always' needs mode 'memory' or 'disk', not '{self.mode}'", "ahead")

    @property
    def path(self) -> Path:
        """The folder of the files."""
        return default_folder() if self.folder is None else expanded(self.folder)


def default_folder() -> Path:
    """Where caches are kept if nothing else is said."""
    own = os.environ.get(FOLDER_VARIABLE)
    if own:
        return expanded(own)
    if sys.platform == "darwin":
        return expanded("~/Library/Caches/smskd")
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "smskd"
