"""The identity of a run: everything that determines its result, compared when the run is resumed."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs.identity_keys import HARMLESS, INITIAL_STUDENT

SEMANTICS = 2
"""Changes with the code wherever the same settings would train other weights."""

_FINGERPRINTED = re.compile(
    r"(?:student|(?:stages\.\d+\.)?teacher(?:\.others\.\d+)?)\.weights|data\.(?:validation\.)?source\.(?:root|download)"
)
"""Keys whose contents have fingerprints: files may lie elsewhere."""

_SHOWN = 6
"""Keys of a difference that a message names."""

_IRRELEVANT = (
    "name",
    "data.loader.workers",
    "runtime.on_nan",
    "runtime.checkpoint_minutes",
    "runtime.keep_checkpoints",
    "runtime.store",
    "runtime.track",
    "runtime.processes",
)
"""Keys that change nothing of what has been trained: where no step was skipped, none would have been, and a run that
NaN has stopped may go on with its steps skipped."""

_ADDED: Mapping[str, Any] = {
    **{
        f"data.augmentation.{key}": None
        for key in ("random_resized_crop", "rotation", "policy", "color_jitter", "random_erasing", "mixup", "cutmix")
    },
    "training.accumulate": 1,
    "runtime.gather": "global",
    "runtime.sync_batch_norm": True,
    "data.augmentation.repeats": 1,
    "data.augmentation.consistent": True,
}
"""Keys that runs of older versions do not have, and the values with which they change nothing: they are left out of the
identity, so that those runs can be resumed."""

_CACHE = re.compile(r"(?:teacher|stages\.\d+\.teacher)\.cache\.(?:folder|limit|ahead)")

_SHARD = re.compile(r"(?:stages\.\d+\.)?teacher\.shard")

_OTHERS = re.compile(r"(?:stages\.\d+\.)?teacher\.others")

_SAFE = (*HARMLESS, INITIAL_STUDENT)
"""Keys that change the result by rounding at most; taken with ``force``. The student's weights come from the
checkpoint, whatever its initial weights are."""


@dataclass(frozen=True)
class Identity:
    """Everything that determines the result of a run.

    Attributes:
        facts: by key of the recipe (``stages.1.anchor.weight``), and ``fingerprints.<name>`` of the images and of the
            initial weights of teacher and student.
    """

    facts: Mapping[str, Any]

    @classmethod
    def of(cls, recipe: Mapping[str, Any], fingerprints: Mapping[str, str]) -> "Identity":
        """The identity of a resolved recipe's mapping, with the fingerprints of what it only names."""
        settings = {key: value for key, value in _flat(recipe).items() if _matters(key, value)}
        named = {f"fingerprints.{name}": value for name, value in fingerprints.items()}
        # As JSON gives them back from a checkpoint: a hyper-parameter may be a tuple, which then is a list.
        return cls(json.loads(json.dumps({"semantics": SEMANTICS, **settings, **named})))

    @property
    def digest(self) -> str:
        """SHA-256 of all facts, hexadecimal."""
        return hashlib.sha256(json.dumps(dict(self.facts), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "Identity") -> list[str]:
        """The keys whose facts differ, sorted."""
        missing = object()
        keys = self.facts.keys() | other.facts.keys()
        return sorted(key for key in keys if self.facts.get(key, missing) != other.facts.get(key, missing))


def check_identity(begun: Identity, now: Identity, folder: Path, *, force: bool = False) -> None:
    """Refuses to go on with a run with other settings, data or weights than it was begun with.

    Args:
        begun: of the run as it was begun.
        now: of the run as it would go on.
        folder: the run's, for the message.
        force: whether differences are taken that change the result by rounding at most, or only lengthen the last
            stage. A cosine schedule cannot be lengthened: it would have had other learning rates from the start.

    Raises:
        UserError: they differ; the keys are named.
    """
    keys = begun.differences(now)
    unsafe = [key for key in keys if not _is_safe(key, begun, now)]
    if unsafe:
        raise UserError(
            f"{folder} was begun with other {_named(unsafe, begun, now)}; a run goes on with what it was begun with: "
            "undo the change, or begin another run in another folder"
        )
    if keys and not force:
        raise UserError(
            f"{folder} was begun with other {_named(keys, begun, now)}; undo the change, or go on with it by --force "
            "(force=True)"
        )


def _is_safe(key: str, begun: Identity, now: Identity) -> bool:
    if key in _SAFE:
        return True
    if key == "training.epochs" or key == _last_end(begun) == _last_end(now):
        return int(now.facts[key]) > int(begun.facts[key]) and not _ends_with_a_cosine(begun)
    return False


def _ends_with_a_cosine(identity: Identity) -> bool:
    """Whether the learning rates of all epochs, those already trained too, depend on the last epoch."""
    last_stage = _last_end(identity).removesuffix(".ends_after")
    return "cosine" in (identity.facts.get("schedule.name"), identity.facts.get(f"{last_stage}.schedule.name"))


def _last_end(identity: Identity) -> str:
    ends = [key for key in identity.facts if key.startswith("stages.") and key.endswith(".ends_after")]
    return max(ends, key=lambda key: int(key.split(".")[1]), default="")


def _named(keys: list[str], begun: Identity, now: Identity) -> str:
    """The keys, with both values where these are short. A key within another one, and one that follows from another,
    is left out."""
    listed = [key for key in keys if not any(key.startswith(f"{other}.") for other in keys)]
    if "runtime.seed" in listed:
        listed = [key for key in listed if key != "fingerprints.loader_seed"]
    if "fingerprints.train" in listed:  # mean and standard deviation follow from the images
        listed = [key for key in listed if key != "fingerprints.augmentation"]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(f"{_words(key, begun, now)}{_change(key, begun, now)}" for key in listed[:_SHOWN]) + more


def _words(key: str, begun: Identity, now: Identity) -> str:
    """What a key is of: the fingerprint of a teacher has two parts, of its tensors and of its structure."""
    if (teacher := _TEACHER.fullmatch(key)) is None:
        return _WORDS.get(key, key)
    weights = [identity.facts.get(key, "").partition(":")[0] for identity in (begun, now)]
    part = "structure" if weights[0] == weights[1] else "weights, normalisation or classes"
    return f"{part} of the teacher{f' of stage {teacher[1]}' if teacher[1] else ''}"


_TEACHER = re.compile(r"fingerprints\.(?:stages\.(\d+)\.)?teacher")

_WORDS = {
    "fingerprints.train": "training images",
    "fingerprints.validation": "validation images",
    "fingerprints.test": "test images",
    "fingerprints.augmentation": "mean, standard deviation or augmentation",
}
"""What the fingerprints that a user can change are of."""


def _change(key: str, begun: Identity, now: Identity) -> str:
    if key == "fingerprints.student":
        return " (the student's initial weights; what it is trained from is the checkpoint)"
    if key not in begun.facts or key not in now.facts:
        return ""
    shown = f" ({json.dumps(begun.facts[key])}, now {json.dumps(now.facts[key])})"
    return shown if len(shown) <= 60 else ""


def _matters(key: str, value: Any) -> bool:
    if _OTHERS.fullmatch(key) and not value:  # runs of the time before this key had a single teacher too
        return False
    if key in _ADDED and value == _ADDED[key] and type(value) is type(_ADDED[key]):
        return False
    return not (key in _IRRELEVANT or _FINGERPRINTED.fullmatch(key) or _CACHE.fullmatch(key) or _SHARD.fullmatch(key))


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested mappings and lists by their paths; empty ones are leaves."""
    if isinstance(value, Mapping) and value:
        pairs = value.items()
    elif isinstance(value, list) and value and any(isinstance(item, Mapping) for item in value):
        pairs = ((str(index), item) for index, item in enumerate(value))  # type: ignore[assignment]
    else:
        return {path: value}
    result: dict[str, Any] = {}
    for key, item in pairs:
        result |= _flat(item, f"{path}.{key}" if path else str(key))
    return result
