"""Files that several processes write at once: a row is there whole and is the right one, or it is not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import smskd
from smskd.data import mix_tensor
from smskd.teacher_cache.codec import Form, Largest, Whole
from smskd.teacher_cache.storage import FileStorage, MemoryStorage, Storage

COUNT, WIDTH = 50, 40

WRITER = """
import sys
from pathlib import Path
import torch
from smskd.data import mix_tensor
from smskd.teacher_cache.storage import FileStorage
torch.set_num_threads(1)
path, count, width, seed, rounds = Path(sys.argv[1]), *map(int, sys.argv[2:])
records = FileStorage(path, count, width)
generator = torch.Generator().manual_seed(seed)
found = 0
print("ready", flush=True)
sys.stdin.readline()
for _ in range(rounds):
    places = torch.randperm(count, generator=generator)[:20]
    pictures = torch.randint(0, 2, (20,), generator=generator)
    right = (mix_tensor(places[:, None], pictures[:, None], torch.arange(width)) % 2**15).to(torch.int16)
    rows, present = records.read(places, pictures)
    assert torch.equal(rows[present], right[present]), "a wrong row"
    found += int(present.sum())
    records.write(places[~present], pictures[~present], right[~present])
print(found, flush=True)
"""


def right_rows(places: Tensor, pictures: Tensor) -> Tensor:
    """What every process writes for these pictures."""
    return (mix_tensor(places[:, None], pictures[:, None], torch.arange(WIDTH)) % 2**15).to(torch.int16)


def writer(path: Path, seed: int, rounds: int) -> "subprocess.Popen[str]":
    source = str(Path(smskd.__file__).parents[1])
    command = [sys.executable, "-c", WRITER, str(path), str(COUNT), str(WIDTH), str(seed), str(rounds)]
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begin(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_on_one_file(tmp_path: Path) -> None:
    """Both overwrite each other's rows all the time, with those of other pictures."""
    processes = [writer(tmp_path / "file", seed, 400) for seed in (1, 2)]
    for process in processes:
        begin(process)
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert int(output) > 1000, "nothing was found"
    records = FileStorage(tmp_path / "file", COUNT, WIDTH)
    places = torch.arange(COUNT)
    present = torch.zeros(COUNT, dtype=torch.int64)
    for picture in (0, 1):
        rows, there = records.read(places, torch.full_like(places, picture))
        assert torch.equal(rows[there], right_rows(places, torch.full_like(places, picture))[there])
        present += there
    assert bool((present <= 1).all())
    assert int(present.sum()) > COUNT // 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
def test_a_process_that_is_killed_while_it_writes(tmp_path: Path) -> None:
    process = writer(tmp_path / "file", 1, 10**6)
    begin(process)
    records = FileStorage(tmp_path / "file", COUNT, WIDTH)
    places = torch.arange(COUNT)
    nothing = torch.zeros_like(places)
    while not bool(records.read(places, nothing)[1].any()):
        assert process.poll() is None
    process.kill()
    process.communicate()
    rows, there = records.read(places, nothing)
    assert torch.equal(rows[there], right_rows(places, nothing)[there])
    records.write(places, nothing, right_rows(places, nothing))
    rows, there = records.read(places, nothing)
    assert bool(there.all())
    assert torch.equal(rows, right_rows(places, nothing))


def test_a_longer_run_makes_a_file_longer_and_a_shorter_one_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    short = FileStorage(path, 10, WIDTH)
    first = torch.arange(10)
    short.write(first, first, right_rows(first, first))
    long = FileStorage(path, COUNT, WIDTH)
    every = torch.arange(COUNT)
    rows, there = long.read(every, every)
    assert there.tolist() == [True] * 10 + [False] * (COUNT - 10)
    assert torch.equal(rows[:10], right_rows(first, first))
    long.write(every, every, right_rows(every, every))
    size = path.stat().st_size
    assert size == FileStorage.size(COUNT, WIDTH)
    assert bool(FileStorage(path, 10, WIDTH).read(first, first)[1].all())
    assert path.stat().st_size == size
    assert bool(long.read(every, every)[1].all())


def test_an_empty_file_takes_no_space(tmp_path: Path) -> None:
    FileStorage(tmp_path / "file", 10**6, 100)
    assert (tmp_path / "file").stat().st_size == 10**6 * 216
    assert (tmp_path / "file").stat().st_blocks * 512 < 10**6


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_of_another_picture_a_row_is_not_there(kind: str, tmp_path: Path) -> None:
    records: Storage = (
        MemoryStorage(COUNT, WIDTH, torch.device("cpu"))
        if kind == "memory"
        else FileStorage(tmp_path / "file", COUNT, WIDTH)
    )
    places, pictures = torch.tensor([4, 2]), torch.tensor([0, 9])
    assert not bool(records.read(places, pictures)[1].any())
    records.write(places, pictures, right_rows(places, pictures))
    rows, there = records.read(places, pictures)
    assert bool(there.all())
    assert torch.equal(rows, right_rows(places, pictures))
    assert records.read(places, torch.tensor([0, 0]))[1].tolist() == [True, False]
    assert records.read(torch.tensor([2, 3]), torch.tensor([9, 0]))[1].tolist() == [True, False]


@pytest.mark.parametrize(
    ("form", "classes"),
    [(Whole(7), 7), (Largest(30, 4), 30), (Largest(40_000, 4), 40_000)],
    ids=["whole", "largest", "many"],
)
def test_rows_are_the_outputs_rounded(form: Form, classes: int) -> None:
    logits = 5 * torch.randn(6, classes, generator=torch.Generator().manual_seed(0))
    rows = form.packed(logits)
    assert rows.dtype == torch.int16
    assert rows.shape == (6, form.width)
    again = form.unpacked(rows)
    assert again.shape == logits.shape
    largest = logits.topk(4, dim=1)
    torch.testing.assert_close(again.gather(1, largest.indices), largest.values, rtol=2**-11, atol=0)
    torch.testing.assert_close(
        again.softmax(1).gather(1, largest.indices), logits.softmax(1).gather(1, largest.indices), rtol=0.01, atol=1e-4
    )
    torch.testing.assert_close(again.logsumexp(1), logits.logsumexp(1), rtol=1e-3, atol=1e-3)
