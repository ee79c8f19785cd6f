"""Drawing negatives: for each sample of a batch, training samples of other classes."""

import math

import torch
from torch import Tensor, nn

from smskd.errors import UserError

BLOCK = 64
"""How many neighbours of a shuffled pool are drawn together."""


class Negatives(nn.Module):
    """Draws the rows of the memory that each sample is compared with.

    Args:
        labels: [M] int64, the class of each training sample.
        count: K, negatives for each sample.
        relax: whether the positive is any sample of the class.

    Raises:
        UserError: all samples are of one class.
    """

    labels: Tensor
    samples_by_class: Tensor
    class_start: Tensor
    class_size: Tensor

    def __init__(self, labels: Tensor, count: int, relax: bool) -> None:
        super().__init__()
        self.count = count
        self.relax = relax
        class_size = labels.bincount()
        if (class_size > 0).sum() < 2:
            raise UserError("negatives are samples of other classes, and all training samples have the same")
        by_class = labels.argsort(stable=True)
        # Twice over: what follows a class, up to the class again, is then one run.
        self.register_buffer("samples_by_class", torch.cat([by_class, by_class]), persistent=False)
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("class_start", class_size.cumsum(0) - class_size, persistent=False)
        self.register_buffer("class_size", class_size, persistent=False)
        sizes = set((len(labels) - class_size[class_size > 0]).tolist())
        self._only_pool_size = sizes.pop() if len(sizes) == 1 else None
        self.generator = torch.Generator(labels.device).manual_seed(int(torch.randint(2**62, ())))

    def draw(self, index: Tensor) -> Tensor:
        """Rows to compare with.

        Args:
            index: [N] int64, the samples.

        Returns:
            [N, K + 1] int64: the positive, then K samples of other classes.
        """
        generator = self._generator_on(index.device)
        y = self.labels[index]
        start, size = self.class_start[y], self.class_size[y]
        pool = len(self.labels) - size
        rows = (start + size).unsqueeze(1) + self._ranks(pool, generator)
        return torch.cat([self._positive(index, start, size, generator), self.samples_by_class.take(rows)], dim=1)

    def _positive(self, index: Tensor, start: Tensor, size: Tensor, generator: torch.Generator) -> Tensor:
        if not self.relax:
            return index.unsqueeze(1)
        uniform = torch.rand(len(index), generator=generator, device=index.device, dtype=torch.float64)
        return self.samples_by_class[start + (uniform * size).long()].unsqueeze(1)

    def _ranks(self, pool: Tensor, generator: torch.Generator) -> Tensor:
        """[N, K]: for each sample K ranks in its pool of ``pool`` samples of other classes."""
        if self._only_pool_size is not None:
            return draw_subsets(len(pool), self._only_pool_size, self.count, generator)
        ranks = pool.new_empty(len(pool), self.count)
        for size in set(pool.tolist()):
            same = pool == size
            ranks[same] = draw_subsets(int(same.sum()), size, self.count, generator)
        return ranks

    def _generator_on(self, device: torch.device) -> torch.Generator:
        if self.generator.device.type != device.type:
            self.generator = torch.Generator(device).manual_seed(self.generator.initial_seed())
        return self.generator

    def get_extra_state(self) -> Tensor:
        """The state of the generator, a ByteTensor."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Draws go on where the saved ones stopped, if they were drawn on the same kind of device."""
        device = self.labels.device
        generator = torch.Generator(device).manual_seed(self.generator.initial_seed())
        state = state.cpu()
        if state.numel() == generator.get_state().numel():
            generator.set_state(state)
        self.generator = generator


def draw_subsets(subsets: int, pool: int, count: int, generator: torch.Generator) -> Tensor:
    """Random subsets of range(pool), one a row: each is uniform among all subsets of that size.

    The pool is shuffled once for all rows and cut into blocks, and each row takes random blocks. Whatever
    places of a shuffled pool are taken, their content is a uniform random subset; so each row by itself is
    distributed as if it were drawn alone, at the price of one shuffle, and of a random number a block instead
    of one a sample of the pool. Rows are not independent of each other, but as each takes blocks of its own,
    they overlap by about as much as independent ones would.

    Args:
        subsets: number of rows.
        pool: size of the pool.
        count: size of each subset; if there are fewer in the pool, rows are drawn with replacement.
        generator: of the device on which the result shall be.

    Returns:
        [subsets, count] int64.
    """
    device = generator.device
    if count > pool:
        return torch.randint(pool, (subsets, count), generator=generator, device=device)
    block = min(BLOCK, count)
    if math.ceil(count / block) > pool // block:
        block = 1
    shuffled = torch.randperm(pool, generator=generator, device=device)
    blocks = shuffled[: pool // block * block].view(-1, block)
    wanted = math.ceil(count / block)
    priority = torch.rand(subsets, len(blocks), generator=generator, device=device)
    chosen = priority.topk(wanted, dim=1, sorted=False).indices
    return blocks.index_select(0, chosen.flatten()).view(subsets, wanted * block)[:, :count]
