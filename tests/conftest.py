"""One thread: the tests share a small machine, and sums come out alike everywhere."""

import torch

torch.set_num_threads(1)
