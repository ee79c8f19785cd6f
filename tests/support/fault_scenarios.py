"""A training is hurt and resumed: it ends as if nothing had happened, or says in one line what is wrong."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smskd.report.page import PAGE
from tests.support import tiny
from tests.support.fault_cases import Case
from tests.support.fault_damage import Damage
from tests.support.fault_folders import done, is_kept, result
from tests.support.fault_hooks import GONE
from tests.support.fault_laboratory import Laboratory
from tests.support.fault_processes import Ended
from tests.support.fault_trainings import OUT, TRAININGS, Training
from tests.support.program import everything_in


@dataclass(frozen=True)
class Verdict:
    """What became of a training that was hurt.

    Attributes:
        kind: ``survived``: nothing was lost, and it ended as the uninterrupted training did; ``told``: a line says
            what is damaged, and all that was done is still there; ``lost``: anything else, which ``detail`` describes.
    """

    kind: Literal["survived", "told", "lost"]
    detail: str = ""


def hurt(laboratory: Laboratory, case: Case) -> Verdict:
    """Begins a training, lets its faults strike it, each time it is resumed, and lets it come to its end."""
    name, training = case.training, TRAININGS[case.training]
    here = laboratory.place(training)
    before: dict[str, list[bytes]] = {}
    for number, fault in enumerate(case.faults):
        ended = laboratory.resume(name, here, fault) if number else laboratory.begin(name, fault, here)[1]
        if not _put_back(here):
            return Verdict("lost", f"a folder that vanished was made anew: {ended}")
        if ended.code != 0 and not _ended_well(ended, case.told):
            return Verdict("lost", f"{fault}: {ended}")
        if not is_kept(before, here):
            return Verdict("lost", f"{fault}: epochs were lost or trained again: {ended}")
        before = done(here, training.folders)
        if _finished(here, training):
            break
    return finish(laboratory, name, here, before)


def finish(laboratory: Laboratory, name: str, here: Path, before: dict[str, list[bytes]]) -> Verdict:
    """Lets a training come to its end; ``before`` is all that was done."""
    training = TRAININGS[name]
    if not _finished(here, training):
        ended = laboratory.resume(name, here)
        if ended.code != 0:
            return Verdict("lost", f"cannot be resumed: {ended}")
    elif training.page:
        ended = laboratory.resume(name, here)  # the page may be missing
        if ended.code != 0 and "is finished" not in ended.message:
            return Verdict("lost", f"the page cannot be made: {ended}")
    if training.page and not (here / OUT / PAGE).exists():
        return Verdict("lost", "there is no page")
    return _compared(laboratory, name, here, before)


def damaged(laboratory: Laboratory, name: str, stopped: Path, damage: Damage) -> Verdict:
    """Damages a file of a copy of a stopped training, and resumes it.

    Args:
        stopped: the training's folder, which stays as it is.
    """
    here = laboratory.copy(stopped)
    # Damaged metrics and checkpoints may cost epochs; the result is compared all the same.
    before = {} if "metrics" in damage.file or "checkpoint" in damage.file else done(here, TRAININGS[name].folders)
    damage.inflict(here)
    files = everything_in(here)
    ended = laboratory.resume(name, here)
    if ended.is_one_line:
        verdict = _refused(laboratory, name, here, damage, files, ended)
    elif ended.code != 0:
        verdict = Verdict("lost", str(ended))
    else:
        verdict = _told_in_a_note(here, damage) or _compared(laboratory, name, here, before)
    shutil.rmtree(here, ignore_errors=True)
    return verdict


def _refused(
    laboratory: Laboratory, name: str, here: Path, damage: Damage, files: dict[str, bytes], ended: Ended
) -> Verdict:
    """The verdict on a training that one line has refused: its files are as they were, and other runs are complete."""
    folders = TRAININGS[name].folders
    others = tuple(folder for folder in folders if len(folders) > 1 and not damage.file.startswith(f"{folder}/"))
    changed = [file for file in _changed(files, everything_in(here)) if not file.startswith(others)]
    if changed:
        return Verdict("lost", f"{ended.message}{' '.join(changed)}")
    reference = laboratory.reference(name)
    found, wanted = result(here, others), {folder: reference[folder] for folder in others}
    if found != wanted:
        return Verdict("lost", f"{ended.message}{_difference(found, wanted)}")
    return Verdict("told", ended.message)


def _told_in_a_note(here: Path, damage: Damage) -> Verdict | None:
    """The verdict on a run that was resumed without the weights of an earlier stage, which nothing needs."""
    stages, _, _ = damage.file.rpartition("/stages/")
    if not stages or (here / damage.file).exists() != (damage.kind != "removed"):
        return None
    notes = tiny.summary(here / stages)["notes"]
    return Verdict("told", str(notes)) if any(damage.file in note for note in notes) else None


def _compared(laboratory: Laboratory, name: str, here: Path, before: dict[str, list[bytes]]) -> Verdict:
    """The verdict on a training that has come to its end."""
    if not is_kept(before, here):
        return Verdict("lost", "epochs were trained again")
    found, wanted = result(here, TRAININGS[name].folders), laboratory.reference(name)
    if found != wanted:
        return Verdict("lost", _difference(found, wanted))
    shutil.rmtree(here)
    return Verdict("survived")


def _ended_well(ended: Ended, told: bool) -> bool:
    if ended.is_one_line:
        return True
    if ended.code == 130:
        return ended.message.startswith("smskd: stopped") and ended.message.count("\n") == 1
    return not told and ended.code < 0 and "Traceback" not in ended.message


def _put_back(here: Path) -> bool:
    """Puts back a folder that a fault has taken away; False if there is another in its place."""
    if (here / GONE).exists():
        if (here / OUT).is_file():
            (here / OUT).unlink()
        if (here / OUT).exists():
            return False
        (here / GONE).rename(here / OUT)
    return True


def _finished(here: Path, training: Training) -> bool:
    folders = [here / folder for folder in training.folders]
    return all((path / "summary.json").exists() and not any(path.glob("checkpoint*")) for path in folders)


def _difference(found: Any, wanted: Any, path: str = "") -> str:
    """The first difference of two results."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        if found.keys() != wanted.keys():
            return f"{path}: other keys {sorted(found.keys() ^ wanted.keys())}"
        return next((_difference(found[k], wanted[k], f"{path}/{k}") for k in found if found[k] != wanted[k]), "none")
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return next((_difference(*pair, f"{path}/{i}") for i, pair in pairs if pair[0] != pair[1]), "none")
    return f"{path}: {str(found)[:200]} instead of {str(wanted)[:200]}"


def _changed(before: dict[str, bytes], now: dict[str, bytes]) -> list[str]:
    """Files whose content is another, or which are gone; new ones do no harm."""
    left = (".tmp", ".lock")
    return [name for name, content in before.items() if now.get(name) != content and not name.endswith(left)]
