"""Freed memory is kept in a run on a CPU, unless the environment configures the allocator; and peak memory."""

import platform
import subprocess
import sys

import pytest
import torch

from smskd.training import host
from smskd.training.host import keep_freed_memory, memory_in_use, peak_memory, reset_peak_memory

FREED = """
import torch
from smskd.training.host import keep_freed_memory
from smskd.training.host import _status

def after_a_block():
    before = _status("VmRSS")
    block = torch.ones(16 * 2**20)
    del block
    return _status("VmRSS") - before

print(after_a_block(), int(keep_freed_memory(torch.device("cpu"))), after_a_block())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the process's memory is read from /proc")
def test_what_is_freed_stays_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in host._OWN_CHOICE:
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    usually, kept, more = map(int, done.stdout.split())
    if not kept:
        assert platform.libc_ver()[0] != "glibc"
        pytest.skip("this C library has no mallopt")
    assert usually < 8 * 2**20
    assert more > 60 * 2**20


def test_an_environment_that_says_how_memory_is_allocated_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory(torch.device("cpu"))


def test_a_gpu_has_its_own_memory() -> None:
    assert not keep_freed_memory(torch.device("cuda"))


def test_peak_memory_is_at_least_what_is_in_use() -> None:
    cpu = torch.device("cpu")
    reset_peak_memory(cpu)
    large = torch.ones(16_000_000)
    peak, use = peak_memory(cpu), memory_in_use(cpu)
    assert peak is not None
    assert peak > large.numel() * large.element_size()
    assert use is None or use <= peak_memory(cpu)  # type: ignore[operator]
