"""How the golden files of DKD, NKD, DIST, LSKD and MLKD are read: warm-up, soft labels, weights, two views."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.features import TappedOutputs
from tests.support.golden import GoldenFile, Spec


class DKDSpec(Spec):
    """Files without an epoch have no warm-up; parts are expected without any weight."""

    def batch(self, file: GoldenFile) -> Batch:
        return replace(super().batch(file), progress=Progress(file.hyperparameters.get("epoch", 1)))

    def objective(
        self, file: GoldenFile, loss: Tensor, inputs: Mapping[str, Tensor], compared: dict[str, Tensor]
    ) -> Tensor:
        given = file.hyperparameters
        rise = min(given["epoch"] / given["warmup"], 1) if "epoch" in given else 1
        compared["tckd"], compared["nckd"] = compared["tckd"] / rise, compared["nckd"] / rise
        return loss


class NKDSpec(Spec):
    """Class probabilities as labels where the file has them."""

    def batch(self, file: GoldenFile) -> Batch:
        return replace(super().batch(file), y=file.tensors.get("labels_soft", file.tensors["labels"]))


class LSKDSpec(Spec):
    """The expected loss is weighted where the file has a weight."""

    def objective(
        self, file: GoldenFile, loss: Tensor, inputs: Mapping[str, Tensor], compared: dict[str, Tensor]
    ) -> Tensor:
        return float(file.hyperparameters.get("weight", 1.0)) * loss


class MLKDSpec(Spec):
    """The expected loss is that of the whole objective, with cross-entropies of both views; parts are weighted."""

    def output(self, role: str, tensors: Mapping[str, Tensor]) -> TappedOutputs:
        return TappedOutputs(tensors[f"{role}.logits.weak"], (tensors[f"{role}.logits.strong"],))

    def objective(
        self, file: GoldenFile, loss: Tensor, inputs: Mapping[str, Tensor], compared: dict[str, Tensor]
    ) -> Tensor:
        ce_weight, weight = file.hyperparameters["ce_weight"], file.hyperparameters["kd_weight"]
        compared |= {name: weight * part for name, part in compared.items()}
        of_views = [cross_entropy(logits, file.tensors["labels"]) for logits in inputs.values()]
        compared["ce"] = ce_weight * torch.stack(of_views).sum()
        return compared["ce"] + weight * loss


SPECS: dict[str, Spec] = {
    "dkd": DKDSpec(
        {"T": "temperature", "alpha": "alpha", "beta": "beta", "warmup": "warmup"},
        read_elsewhere=frozenset({"epoch"}),
        further_fields=lambda file: {} if "epoch" in file.hyperparameters else {"warmup": 1},
        part_scale=lambda method: {"tckd": method.alpha, "nckd": method.beta},  # type: ignore[attr-defined]
    ),
    "nkd": NKDSpec({"temp": "temperature", "gamma": "gamma"}),
    "dist": Spec({"tau": "temperature", "beta": "beta", "gamma": "gamma"}, {"eps": 1e-8}),
    "lskd": LSKDSpec(
        {"T": "temperature", "alpha": "alpha", "beta": "beta"},
        {"eps": 1e-7, "std_ddof": 1},
        read_elsewhere=frozenset({"weight"}),
        further_fields=lambda file: {"base": "dkd", "warmup": 1} if "alpha" in file.hyperparameters else {},
    ),
    "mlkd": MLKDSpec(
        {"T": "temperature", "logit_stand": "standardize"},
        {"extra_temperatures": [3.0, 5.0, 2.0, 6.0]},
        read_elsewhere=frozenset({"ce_weight", "kd_weight"}),
    ),
}
