"""Global state of the process that a run needs, set for its duration and put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from smskd.config.runtime import ComputeConfig
from smskd.training.rng import RngSnapshot


@contextmanager
def preserved_globals() -> Iterator[None]:
    """Afterwards random number generators, cuDNN's flags, TF32 and the number of threads are as before."""
    rng, flags, threads = RngSnapshot(), _flags(), torch.get_num_threads()
    try:
        yield
    finally:
        _set_flags(*flags)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        rng.restore()


@contextmanager
def computing(compute: ComputeConfig) -> Iterator[None]:
    """Deterministic cuDNN, so that a run that is resumed is exact, and TF32 as configured; afterwards as before."""
    with preserved_globals():
        _set_flags(True, False, compute.tf32, compute.tf32)
        yield


def _flags() -> tuple[bool, bool, bool, bool]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return cudnn.deterministic, cudnn.benchmark, bool(matmul.allow_tf32), bool(cudnn.allow_tf32)


def _set_flags(deterministic: bool, benchmark: bool, matmul_tf32: bool, cudnn_tf32: bool) -> None:
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = benchmark
    if bool(torch.backends.cuda.matmul.allow_tf32) != matmul_tf32:
        torch.backends.cuda.matmul.allow_tf32 = matmul_tf32
    if bool(torch.backends.cudnn.allow_tf32) != cudnn_tf32:
        torch.backends.cudnn.allow_tf32 = cudnn_tf32
