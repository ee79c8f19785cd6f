"""Files that several processes write concurrently: a record is valid and its row correct, or it is invalid."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

import smskd
from smskd.data import mix_tensor
from smskd.teacher_cache.codec import AllValues, Codec, TopLogits
from smskd.teacher_cache.storage import FileStorage, MemoryStorage, Storage

COUNT, WIDTH = 50, 40

WRITER = """
import os, sys
from pathlib import Path
import torch
from smskd.data import mix_tensor
from smskd.teacher_cache.storage import FileStorage

torch.set_num_threads(1)
path, (count, width, rounds, *seeds) = Path(sys.argv[1]), map(int, sys.argv[2:])

def write(seed):
    storage = FileStorage(path, count, width)
    generator = torch.Generator().manual_seed(seed)
    found = 0
    for _ in range(rounds):
        records = torch.randperm(count, generator=generator)[:20]
        image_ids = torch.randint(0, 2, (20,), generator=generator)
        correct = (mix_tensor(records[:, None], image_ids[:, None], torch.arange(width)) % 2**15).to(torch.int16)
        rows, present = storage.read(records, image_ids)
        assert torch.equal(rows[present], correct[present]), "a wrong row"
        found += int(present.sum())
        storage.write(records[~present], image_ids[~present], correct[~present])
    os.write(1, b"%d\\n" % found)

print("ready", flush=True)
sys.stdin.readline()
first, *others = seeds
for seed in others:
    if os.fork() == 0:
        write(seed)
        sys.exit()
write(first)
for _ in others:
    assert os.wait()[1] == 0
"""
"""A process for each seed, forked before the first computation: torch is imported once."""


def correct_rows(records: Tensor, image_ids: Tensor) -> Tensor:
    """The rows that every process writes for these images."""
    return (mix_tensor(records[:, None], image_ids[:, None], torch.arange(WIDTH)) % 2**15).to(torch.int16)


def writer(path: Path, rounds: int, *seeds: int) -> "subprocess.Popen[str]":
    source = str(Path(smskd.__file__).parents[1])
    command = [sys.executable, "-c", WRITER, str(path), *map(str, (COUNT, WIDTH, rounds, *seeds))]
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_two_processes_on_one_file(tmp_path: Path) -> None:
    """Both keep overwriting each other's rows with those of other images."""
    process = writer(tmp_path / "file", 150, 1, 2)
    begin(process)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    found = [int(line) for line in output.splitlines()]
    assert len(found) == 2
    assert min(found) > 300, "nothing was found"
    storage = FileStorage(tmp_path / "file", COUNT, WIDTH)
    records = torch.arange(COUNT)
    present = torch.zeros(COUNT, dtype=torch.int64)
    for image in (0, 1):
        rows, valid = storage.read(records, torch.full_like(records, image))
        assert torch.equal(rows[valid], correct_rows(records, torch.full_like(records, image))[valid])
        present += valid
    assert bool((present <= 1).all())
    assert int(present.sum()) > COUNT // 2


def test_a_process_killed_while_it_writes(tmp_path: Path) -> None:
    process = writer(tmp_path / "file", 10**6, 1)
    begin(process)
    storage = FileStorage(tmp_path / "file", COUNT, WIDTH)
    records = torch.arange(COUNT)
    nothing = torch.zeros_like(records)
    while not bool(storage.read(records, nothing)[1].any()):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    rows, valid = storage.read(records, nothing)
    assert torch.equal(rows[valid], correct_rows(records, nothing)[valid])
    storage.write(records, nothing, correct_rows(records, nothing))
    rows, valid = storage.read(records, nothing)
    assert bool(valid.all())
    assert torch.equal(rows, correct_rows(records, nothing))


def test_a_longer_run_extends_a_file_and_a_shorter_one_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    short = FileStorage(path, 10, WIDTH)
    first = torch.arange(10)
    short.write(first, first, correct_rows(first, first))
    long = FileStorage(path, COUNT, WIDTH)
    every = torch.arange(COUNT)
    rows, valid = long.read(every, every)
    assert valid.tolist() == [True] * 10 + [False] * (COUNT - 10)
    assert torch.equal(rows[:10], correct_rows(first, first))
    long.write(every, every, correct_rows(every, every))
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
def test_a_record_of_another_image_is_invalid(kind: str, tmp_path: Path) -> None:
    storage: Storage = (
        MemoryStorage(COUNT, WIDTH, torch.device("cpu"))
        if kind == "memory"
        else FileStorage(tmp_path / "file", COUNT, WIDTH)
    )
    records, image_ids = torch.tensor([4, 2]), torch.tensor([0, 9])
    assert not bool(storage.read(records, image_ids)[1].any())
    storage.write(records, image_ids, correct_rows(records, image_ids))
    rows, valid = storage.read(records, image_ids)
    assert bool(valid.all())
    assert torch.equal(rows, correct_rows(records, image_ids))
    assert storage.read(records, torch.tensor([0, 0]))[1].tolist() == [True, False]
    assert storage.read(torch.tensor([2, 3]), torch.tensor([9, 0]))[1].tolist() == [True, False]


@pytest.mark.parametrize(
    ("codec", "classes"),
    [(AllValues(7), 7), (TopLogits(30, 4), 30), (TopLogits(40_000, 4), 40_000)],
    ids=["all", "top", "int32"],
)
def test_unpacked_rows_are_the_rounded_outputs(codec: Codec, classes: int) -> None:
    logits = 5 * torch.randn(6, classes, generator=torch.Generator().manual_seed(0))
    rows = codec.pack(logits)
    assert rows.dtype == torch.int16
    assert rows.shape == (6, codec.width)
    again = codec.unpack(rows)
    assert again.shape == logits.shape
    largest = logits.topk(4, dim=1)
    torch.testing.assert_close(again.gather(1, largest.indices), largest.values, rtol=2**-11, atol=0)
    torch.testing.assert_close(
        again.softmax(1).gather(1, largest.indices), logits.softmax(1).gather(1, largest.indices), rtol=0.01, atol=1e-4
    )
    torch.testing.assert_close(again.logsumexp(1), logits.logsumexp(1), rtol=1e-3, atol=1e-3)
