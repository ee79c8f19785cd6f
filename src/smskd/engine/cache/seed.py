"""The seed of the draws that a replay holds: only with it do the same pictures come again."""

import json
from contextlib import suppress
from pathlib import Path

from smskd import files
from smskd.engine.cache.key import Key
from smskd.engine.cache.options import CacheOptions
from smskd.errors import UserError

SEED = "seed.json"


def replayed_seed(key: Key, options: CacheOptions, seed: int) -> int:
    """The loader's seed with which the outputs of this key were recorded; where there are none yet, ``seed``, which
    later runs will then take.

    Raises:
        UserError: the folder cannot be written.
    """
    path = key.folder(options.path) / SEED
    with suppress(OSError, ValueError, TypeError, KeyError):
        return _known(path)
    try:
        files.write_json(path, {"seed": seed})
        return _known(path)
    except OSError as error:
        raise UserError(f"the teacher's cache {path} cannot be written ({error.strerror})") from None


def _known(path: Path) -> int:
    return int(json.loads(path.read_text(encoding="utf-8"))["seed"])
