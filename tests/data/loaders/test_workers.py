"""Worker processes that end, and the same samples whatever their number and Python's hash seed."""

import hashlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info

from smskd.data.loaders import workers
from smskd.data.loaders.reading import BatchRequest, Plan
from smskd.data.loaders.streaming import StreamingLoader
from smskd.data.loaders.workers import lost_workers_told
from smskd.errors import UserError

ROOT = Path(__file__).parents[3]


class Killed(list):
    """Samples of which one ends the process that reads it, if that is a worker."""

    def __getitem__(self, row):
        if row == 13 and get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(row)


def read_with_a_killed_worker():
    """Prints the error and its cause. PyTorch raises it from a signal handler, which would hit the test's process."""
    samples = Killed((torch.zeros(1, 2, 2), row % 2) for row in range(40))
    try:
        with lost_workers_told():
            list(StreamingLoader(samples, 2, 4, shuffle=False, workers=1).epoch(1))
    except UserError as error:
        print(error, type(error.__cause__).__name__)


def test_a_killed_worker_is_told_in_a_line():
    code = f"from {__name__} import read_with_a_killed_worker as read; read()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout.startswith("a worker process of the data loader has ended"), done.stderr
    assert done.stdout.endswith(
        "(killed, or out of memory): resume the run, perhaps with fewer workers (data.loader.workers) RuntimeError\n"
    )


def test_a_connection_cut_by_the_end_of_a_worker_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr(workers, "_NOTICE", 0)
    ours, theirs = multiprocessing.Pipe()
    theirs.close()

    def batches():
        yield 0
        yield ours.recv()

    with pytest.raises(UserError, match=r"^a worker process of the data loader has ended before batch 2 of the epoch"):
        list(workers.surviving(batches(), 1))
    ours.close()


def test_a_connection_of_the_data_set_is_its_own():
    def batches():
        raise ConnectionResetError("of the storage")
        yield

    with pytest.raises(ConnectionResetError, match=r"^of the storage$"):
        list(workers.surviving(batches(), 1))


def test_other_errors_are_no_lost_workers():
    with pytest.raises(RuntimeError, match=r"^mine$"), lost_workers_told():
        raise RuntimeError("mine")


def test_a_data_set_that_cannot_be_sent_to_workers(monkeypatch):
    samples = [(torch.zeros(1, 2, 2), 0)] * 8
    loader = StreamingLoader(samples, 1, 4, workers=1)

    def fail(_):
        raise AttributeError("Can't pickle local object 'f'")

    monkeypatch.setattr(type(loader._loader), "__iter__", fail)
    with pytest.raises(UserError, match=r"^data.loader.workers: the data set cannot be sent to .*: Can't pickle"):
        list(loader.epoch(1))


def test_requests_of_a_large_data_set_are_made_when_they_are_needed():
    plan = Plan([(begin, begin + 8) for begin in range(0, 10**6, 8)])
    asked = []
    plan.begin(torch.arange(10**6), lambda number: asked.append(number) or 7 + number)
    requests = iter(plan)
    assert [next(requests), next(requests)] == [
        [BatchRequest(7, list(range(8)))],
        [BatchRequest(8, list(range(8, 16)))],
    ]
    assert asked == [0, 1]


def test_labels_other_than_those_that_are_listed():
    class Listed(list):
        pass

    samples = Listed((torch.zeros(1, 2, 2), row % 2) for row in range(8))
    samples.targets = [row % 2 for row in range(8)]
    assert len(list(StreamingLoader(samples, 2, 4).epoch(1))) == 2
    samples.targets = [*samples.targets[:5], 0, 0, 1]
    with pytest.raises(UserError, match=r"^sample 5 has the label 1, but the data set lists 0 for it"):
        list(StreamingLoader(samples, 2, 4, shuffle=False).epoch(1))


def digest(processes):
    """Of two epochs of samples that draw from all the usual generators and from a set of strings."""
    found = hashlib.sha256()
    loader = StreamingLoader(Drawing(), 3, 4, seed=5, workers=processes)
    for epoch in (1, 2):
        for batch in loader.epoch(epoch):
            found.update(batch.x.numpy().tobytes() + batch.y.numpy().tobytes())
    return found.hexdigest()


class Drawing:
    """A user's data set with random transforms."""

    def __len__(self):
        return 14

    def __getitem__(self, row):

        values = [
            row,
            random.random(),
            np.random.rand(),
            float(torch.rand(())),
            random.choice(sorted({"a", "b"})) == "a",
        ]
        return torch.tensor(values, dtype=torch.float32).view(1, 1, 5), row % 3


def test_workers_and_hash_seed_change_nothing():
    code = f"from {__name__} import digest; print(digest(0), digest(1), digest(4))"
    found = set()
    for seed in ("0", "123"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        found |= set(done.stdout.split())
    assert found == {digest(0)}
