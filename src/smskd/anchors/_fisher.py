"""The diagonal of a classifier's Fisher information."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.inputs import Inputs, mapped_inputs, take

Estimator = Literal["exact", "sampled", "empirical", "batched"]
Weights = dict[str, Tensor]
PerSample = Callable[[Inputs, Tensor], Weights]
"""Gradients [n, ...] by parameter of the log likelihoods of n samples and labels."""

_logger = logging.getLogger(__name__)

_SEED = 0
"""Of the labels drawn from the model."""

_CHUNK = 2**26
"""Elements of the per-sample gradients that are held at a time (256 MiB in float32)."""


def diagonal_fisher(
    model: nn.Module, batches: Iterable[Batch], *, estimator: Estimator = "exact", samples: int | None = None
) -> Weights:
    r"""The diagonal of the Fisher information of a model, averaged over samples.

    .. math::
        F_i = \frac{1}{N} \sum_n \mathbb{E}_{c \sim p(c|x_n)} \left( \partial_{w_i} \log p(c|x_n) \right)^2

    Per-sample gradients are vectorised (``torch.func.vmap``), or computed one sample at a time for a model that cannot
    be. Labels are drawn from a generator of its own with a fixed seed; no random state is changed.

    Args:
        model: gives logits [N, classes] for images [N, channels, height, width]; in eval mode, as the gradient of a
            sample is not defined in a batch norm that uses the statistics of the batch. It is left as it is.
        batches: images and labels on the model's device.
        estimator: ``exact``: the expectation over all classes, one gradient per sample and class. ``sampled``: one
            label per sample, drawn from the model; unbiased. ``empirical``: the labels of the data, which is not the
            Fisher information unless the model fits them. ``batched``: the squared gradient of a whole batch for
            labels drawn from the model, which is unbiased too, as scores of independent samples have mean zero; the
            cheapest, and the noisiest for a given number of samples.
        samples: number of samples, the first of ``batches``; None: all.

    Returns:
        For each floating-point parameter, by name, a tensor of its shape.

    Raises:
        UserError: there are no samples.
    """
    weights = {name: weight.detach() for name, weight in model.named_parameters() if weight.is_floating_point()}
    scores = _Scores(model, weights)
    squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    generator = torch.Generator().manual_seed(_SEED)
    seen = 0
    for x, y in _first(batches, samples):
        with torch.autocast(y.device.type, enabled=False):
            probabilities = scores.probabilities(x)
            if estimator == "exact":
                for label, column in enumerate(probabilities.unbind(dim=1)):
                    scores.add_squares(squares, x, torch.full_like(y, label), column)
            elif estimator == "empirical":
                scores.add_squares(squares, x, y, torch.ones_like(probabilities[:, 0]))
            elif estimator == "sampled":
                scores.add_squares(squares, x, _drawn(probabilities, generator), torch.ones_like(probabilities[:, 0]))
            else:
                for name, gradient in scores.of_batch(x, _drawn(probabilities, generator)).items():
                    squares[name] += gradient.square()
        seen += len(y)
    if not seen:
        raise UserError("the Fisher information needs at least one sample")
    return {name: square / seen for name, square in squares.items()}


def _first(batches: Iterable[Batch], samples: int | None) -> Iterator[tuple[Inputs, Tensor]]:
    left = samples
    for batch in batches:
        taken = len(batch.y) if left is None else min(left, len(batch.y))
        if taken:
            yield take(batch.x, slice(taken)), batch.y[:taken]
        if left is not None:
            left -= taken
            if not left:
                return


def _drawn(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """[N] a class for each row, on its device. Drawn on the CPU, so that every device draws the same."""
    return torch.multinomial(probabilities.cpu(), 1, generator=generator).squeeze(1).to(probabilities.device)


class _Scores:
    """Gradients of the log likelihood with respect to the weights.

    Args:
        model: in eval mode.
        weights: of the model, by name, without gradient.
    """

    def __init__(self, model: nn.Module, weights: Weights) -> None:
        self._model = model
        self._weights = weights
        self._chunk = max(1, _CHUNK // max(1, sum(weight.numel() for weight in weights.values())))
        self._per_sample: PerSample = self._vectorised

    @torch.no_grad()
    def probabilities(self, x: Inputs) -> Tensor:
        """[N, classes] predicted by the model."""
        return self._logits(self._weights, x).softmax(dim=1)

    def add_squares(self, squares: Weights, x: Inputs, labels: Tensor, factors: Tensor) -> None:
        """Adds the squared gradients of the samples, each times its factor [N], in place."""
        for start in range(0, len(labels), self._chunk):
            part = slice(start, start + self._chunk)
            for name, gradient in self._of_samples(take(x, part), labels[part]).items():
                squares[name] += torch.tensordot(factors[part].to(gradient.dtype), gradient.square(), dims=1)

    def of_batch(self, x: Inputs, labels: Tensor) -> Weights:
        """Of the sum over a batch."""
        leaves = {name: weight.clone().requires_grad_() for name, weight in self._weights.items()}
        with torch.enable_grad():
            value = self._log_likelihood(leaves, x, labels)
            gradients = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, gradients, strict=True))

    def _of_samples(self, x: Inputs, labels: Tensor) -> Weights:
        try:
            return self._per_sample(x, labels)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            # Not every forward pass can be vectorised: data-dependent branches, custom autograd functions.
            if self._per_sample == self._one_by_one:
                raise
            _logger.info("gradients are computed one sample at a time: %s", str(error).partition("\n")[0])
            self._per_sample = self._one_by_one
            return self._per_sample(x, labels)

    def _vectorised(self, x: Inputs, labels: Tensor) -> Weights:
        def one(weights: Weights, sample: Inputs, label: Tensor) -> Tensor:
            return self._log_likelihood(
                weights, mapped_inputs(sample, lambda own: own.unsqueeze(0)), label.unsqueeze(0)
            )

        gradients: Weights = vmap(grad(one), in_dims=(None, 0, 0))(self._weights, x, labels)
        return gradients

    def _one_by_one(self, x: Inputs, labels: Tensor) -> Weights:
        found = [self.of_batch(take(x, slice(n, n + 1)), labels[n : n + 1]) for n in range(len(labels))]
        return {name: torch.stack([gradients[name] for gradients in found]) for name in self._weights}

    def _log_likelihood(self, weights: Weights, x: Inputs, labels: Tensor) -> Tensor:
        return -F.cross_entropy(self._logits(weights, x), labels, reduction="sum")

    def _logits(self, weights: Weights, x: Inputs) -> Tensor:
        logits: Tensor = functional_call(self._model, weights, (x,))
        return logits
