"""Measures what training several seeds beside each other gains over one alone: the time of an epoch of each."""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smskd.recipe import Recipe, overridden, parse
from smskd.runs.atomic_files import write_text
from smskd.seeds import with_seed
from smskd.session import begin
from smskd.sweeps.side_by_side import Message, train_side_by_side
from smskd.training.host import device_of, environment
from smskd.training.reports import EpochReport


class Watch:
    """Notes when each run's epochs end."""

    def __init__(self) -> None:
        self.ends: dict[int, list[float]] = {}
        self.notes: list[str] = []

    def told(self, message: Message) -> None:
        """Takes a message of a run."""
        if message.kind == "failed":
            raise RuntimeError(f"a run has failed: {message.content}")
        if message.kind == "note":
            self.notes.append(str(message.content))
        if isinstance(message.content, EpochReport):
            self.ends.setdefault(message.run.recipe.runtime.seed, []).append(time.perf_counter())


def recipe_of(
    source: str, student: str, epochs: int, batch_size: int, changes: Sequence[str] = (), **keys: Any
) -> Recipe:
    """Plain training for so many timed epochs, after two others, without decays of the learning rate.

    Args:
        source: name of the data.
        student: name of the network.
        epochs: that are timed.
        batch_size: images in a batch.
        changes: to the recipe, as ``KEY.PATH=VALUE``.
        keys: of the recipe, in place of those from the other arguments.
    """
    raw = {
        "name": "side-by-side",
        "data": {"source": {"name": source}},
        "student": student,
        "training": {"epochs": epochs + 2, "batch_size": batch_size},
        "schedule": {"decay_at": []},
        "methods": [],
    }
    return parse(overridden(raw | keys, changes))


def seconds(recipe: Recipe, runs: int, folder: Path) -> tuple[float, list[str]]:
    """From the moment when all seeds train to the last epoch's end, for one epoch of each of so many seeds of a recipe.

    The first epoch, in which the first run is alone and each warms up, does not count.
    """
    made = [begin(with_seed(recipe, seed), folder / f"{runs}-{seed}") for seed in range(runs)]
    watch = Watch()
    train_side_by_side(made, [(made[0].recipe.data, made[0].load())], runs, watch.told)
    begun = max(ends[0] for ends in watch.ends.values())
    ended = max(ends[-1] for ends in watch.ends.values())
    epochs = sum(sum(end > begun for end in ends) for ends in watch.ends.values())
    return (ended - begun) * runs / max(epochs, 1), watch.notes


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("changes", nargs="*", metavar="KEY.PATH=VALUE", help="changes to the recipe")
    parser.add_argument("--out", type=Path, default=None, help="a file for the result, which is printed as well")
    parser.add_argument("--runs", type=int, default=8, help="seeds beside each other")
    parser.add_argument("--student", default="resnet8x4")
    parser.add_argument("--teacher-name", default=None, help="a model of the zoo, with weights; none: plain training")
    parser.add_argument("--teacher-weights", default=None)
    parser.add_argument("--method", default="kd")
    parser.add_argument("--source", default="cifar10", help="data of the recipe, such as digits, cifar10")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs, after two others")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="auto")
    options = parser.parse_intermixed_args(arguments)
    keys: dict[str, Any] = {"runtime": {"device": options.device, "precision": options.precision}}
    if options.teacher_name is not None:
        keys["methods"] = [options.method]
        keys["teacher"] = {
            "name": options.teacher_name,
            "weights": options.teacher_weights,
            "cache": {"mode": "memory"},
        }
    recipe = recipe_of(options.source, options.student, options.epochs, options.batch_size, options.changes, **keys)
    with tempfile.TemporaryDirectory() as folder:
        alone, _ = seconds(recipe, 1, Path(folder))
        beside, notes = seconds(recipe, options.runs, Path(folder))
    machine = environment(device_of(options.device), tf32=True)
    result = {
        "runs": options.runs,
        "seconds_an_epoch_alone": round(alone, 3),
        "seconds_an_epoch_of_each_together": round(beside, 3),
        "ratio": round(beside / alone, 3),
        "notes": notes,
        "device": machine["device_name"] or machine["processor"],
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out is not None:
        write_text(options.out, text + "\n")


if __name__ == "__main__":
    main()
