"""The predictions of a network for a part of the data."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from smskd.config.runtime import ComputeConfig
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureModel
from smskd.models.dry_run import in_eval_mode


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of a network, on the CPU, in the order of the data.

    Attributes:
        logits: float32 [N, classes].
        y: int64 [N], the true classes.
        features: float32 [M, channels] by name, of the first M images: a map is averaged over space.
    """

    logits: Tensor
    y: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)

    @property
    def predicted(self) -> Tensor:
        """int64 [N], the class with the largest logit."""
        return self.logits.topk(1, dim=1).indices[:, 0]

    @property
    def correct(self) -> Tensor:
        """[N] bool, whether the class with the largest logit is the true one."""
        return self.predicted == self.y

    @property
    def top1(self) -> float:
        """Percent of the images."""
        return 100.0 * float(self.correct.double().mean())


@torch.no_grad()
def predict(
    model: FeatureModel,
    batches: Iterable[Batch],
    compute: ComputeConfig,
    features: Collection[str] = (),
    images: int = 0,
) -> Predictions:
    """The predictions of a model in eval mode; afterwards its modules are in the modes that they were in.

    Args:
        model: on the device of the batches.
        batches: of an epoch without shuffling.
        compute: its precision is that of the forward pass.
        features: names of the features that are kept.
        images: for how many images, the first ones, features are kept.
    """
    logits, labels = [], []
    kept: dict[str, list[Tensor]] = {name: [] for name in features}
    missing = images
    with in_eval_mode(model):
        for batch in batches:
            names = tuple(kept) if missing > 0 else ()
            with compute.autocast(batch.y.device):
                found = model.extract(batch.x, (*names, LOGITS))
            for name in names:
                kept[name].append(_vectors(found[name])[:missing].cpu())
            missing -= len(batch.y)
            logits.append(found[LOGITS].float().cpu())
            labels.append(batch.y.cpu())
    return Predictions(
        torch.cat(logits), torch.cat(labels), {name: torch.cat(parts) for name, parts in kept.items() if parts}
    )


def _vectors(feature: Tensor) -> Tensor:
    """[N, channels]: means over space of a map [N, channels, height, width], over tokens of [N, tokens, channels]."""
    feature = feature.float()
    if feature.dim() == 3:
        return feature.mean(dim=1)
    return feature.flatten(2).mean(dim=2) if feature.dim() > 2 else feature
