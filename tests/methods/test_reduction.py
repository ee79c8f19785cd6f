"""Losses of samples: reduction ``none`` gives [N], ``mean`` their mean, and a sample's loss is that of it alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from smskd.methods.ab import ab_loss
from smskd.methods.at import at_loss
from smskd.methods.dist import dist_loss
from smskd.methods.dkd import dkd_loss
from smskd.methods.fitnet import fitnet_loss
from smskd.methods.fsp import fsp_loss
from smskd.methods.ft import ft_loss, ft_reconstruction_loss
from smskd.methods.kd import kd_loss
from smskd.methods.kdsvd import kdsvd_loss
from smskd.methods.lskd import lskd_dkd_loss, lskd_loss
from smskd.methods.mlkd import mlkd_loss
from smskd.methods.nkd import nkd_loss
from smskd.methods.nst import nst_loss
from smskd.methods.ofd import ofd_loss
from smskd.methods.reviewkd import reviewkd_loss
from smskd.methods.semckd import semckd_loss
from smskd.methods.simkd import simkd_loss
from smskd.methods.srrl import srrl_loss
from smskd.methods.vid import vid_loss
from smskd.ops.reduction import Reduction

SAMPLES = 5
Loss = Callable[[slice, Reduction], Tensor]
"""The loss of a slice of the samples."""


def _draw(*shape: int) -> Tensor:
    return torch.randn(SAMPLES, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


Y = torch.tensor([0, 3, 2, 1, 3])
Z, Z_T = _draw(4), _draw(4) * 2 + _draw(4).roll(1, 0)
MAP, MAP_T = _draw(3, 8, 8), _draw(3, 8, 8).roll(1, 0)
WIDE, WIDE_T = _draw(5, 4, 4), _draw(5, 4, 4).roll(1, 0)
V, V_T = _draw(6, 4), _draw(6, 2)
PIXELS, PIXELS_T = _draw(4, 2, 2), _draw(4, 2, 2).roll(1, 0)
WEIGHTS = torch.linspace(-1.0, 1.0, 3, dtype=torch.float64)

LOSSES: dict[str, Loss] = {
    "kd": lambda i, r: kd_loss(Z[i], Z_T[i], 4.0, r),
    "dkd": lambda i, r: sum(dkd_loss(Z[i], Z_T[i], Y[i], 1.0, 8.0, 4.0, r), start=torch.zeros(())),
    "nkd": lambda i, r: sum(nkd_loss(Z[i], Z_T[i], Y[i], 1.5, 2.0, r), start=torch.zeros(())),
    "lskd": lambda i, r: lskd_loss(Z[i], Z_T[i], 2.0, r),
    "lskd dkd": lambda i, r: sum(lskd_dkd_loss(Z[i], Z_T[i], Y[i], 1.0, 8.0, 2.0, r), start=torch.zeros(())),
    "dist": lambda i, r: dist_loss(Z[i], Z_T[i], 1.0, 1.0, 2.0, r)[0],
    "dist of pixels": lambda i, r: dist_loss(PIXELS[i], PIXELS_T[i], 1.0, 1.0, 2.0, r)[0],
    "fitnet": lambda i, r: fitnet_loss(MAP[i], MAP_T[i], r),
    "at": lambda i, r: at_loss(MAP[i], WIDE_T[i], 2, r),
    "nst": lambda i, r: nst_loss(MAP[i], WIDE_T[i], r),
    "ab": lambda i, r: ab_loss(MAP[i], MAP_T[i], 1.0, r),
    "ofd": lambda i, r: ofd_loss(MAP[i], MAP_T[i], -WEIGHTS.abs(), r),
    "ft": lambda i, r: ft_loss(MAP[i], WIDE_T[i], 2, 1, r),
    "ft reconstruction": lambda i, r: ft_reconstruction_loss(MAP[i], MAP_T[i], r),
    "fsp": lambda i, r: fsp_loss((MAP[i], WIDE[i]), (MAP_T[i], WIDE_T[i]), r),
    "kdsvd": lambda i, r: kdsvd_loss([V[i], -V[i]], [V_T[i], V_T[i]], [V_T[i, 0], V_T[i, 1]], r)[0],
    "vid": lambda i, r: vid_loss(MAP[i], MAP_T[i], WEIGHTS, 1e-5, r),
    "reviewkd": lambda i, r: reviewkd_loss(MAP[i], MAP_T[i], r),
    "simkd": lambda i, r: simkd_loss(WIDE[i], WIDE_T[i], r),
    "srrl": lambda i, r: sum(srrl_loss(V[i, 0], V[i, 1], Z[i], Z_T[i], r), start=torch.zeros(())),
    "semckd": lambda i, r: semckd_loss(WIDE[i, 0].softmax(2), WIDE[i, 1].square(), r),
}


@pytest.mark.parametrize("name", LOSSES)
def test_reduction(name: str) -> None:
    losses = LOSSES[name](slice(None), "none")
    assert losses.shape == (SAMPLES,)
    assert len(losses.unique()) == SAMPLES
    torch.testing.assert_close(LOSSES[name](slice(None), "mean"), losses.mean())


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_a_sample_is_that_of_the_sample_alone(name: str) -> None:
    alone = [LOSSES[name](slice(i, i + 1), "mean") for i in range(SAMPLES)]
    torch.testing.assert_close(LOSSES[name](slice(None), "none"), torch.stack(alone))


def test_reduction_of_mlkd() -> None:
    """The shares of samples and classes depend on the batch, so that a sample alone has another loss."""
    views = (Z, Z.roll(1, 0)), (Z_T, Z_T.roll(1, 0))
    losses, mean = (mlkd_loss(*views, 4.0, reduction=reduction) for reduction in ("none", "mean"))
    assert losses["kd"].shape == (SAMPLES,)
    torch.testing.assert_close(mean["kd"], losses["kd"].mean())
    assert all(torch.equal(losses[name], mean[name]) and losses[name].shape == () for name in ("cc", "bc"))
