"""Keys of the first edition of the recipe, and the keys that replace them."""

import re

_RUNTIME = ("seed", "device", "precision", "compile", "tf32", "checkpoint_every")
_TRAINING = ("epochs", "batch_size", "test_batch_size")
_SOURCE = ("name", "root", "download", "image_column", "label_column", "image_size", "channels")

_NEW = {
    **{key: f"training.{key}" for key in _TRAINING},
    **{key: f"runtime.{key}" for key in _RUNTIME},
    **{f"data.{key}": f"data.source.{key}" for key in _SOURCE},
    "data.train_limit": "data.subset.train",
    "data.test_limit": "data.subset.test",
    "data.limit_seed": "data.subset.seed",
    "data.padding": "data.augmentation.padding",
    "data.flip": "data.augmentation.flip",
    "student.model": "student.name",
    "teacher.model": "teacher.name",
    "teacher.cache_folder": "teacher.cache.folder",
    "teacher.cache_limit": "teacher.cache.limit",
    "schedule.decay_epochs": "schedule.decay_at",
    "stages.N.until": "stages.N.ends_after",
    "stages.N.class_weight": "stages.N.ce_weight",
    "stages.N.average_decay": "stages.N.ema_decay",
    "stages.N.schedule.decay_epochs": "stages.N.schedule.decay_at",
}


def new_key(path: str) -> str | None:
    """The key that replaces one of the first edition; None if there was no such key.

    Args:
        path: of the old key, as ``stages.0.until``.
    """
    numbers = iter(re.findall(r"(?<=\.)\d+(?=\.)", path))
    new = _NEW.get(re.sub(r"(?<=\.)\d+(?=\.)", "N", path))
    return None if new is None else re.sub(r"\bN\b", lambda _: next(numbers), new)
