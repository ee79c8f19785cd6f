r"""Factor transfer.

Paper: Kim, Park, Kwak: Paraphrasing Complex Network: Network Compression via Factor Transfer, NeurIPS 2018

arXiv: 1802.04977

Formula:
    L = \frac{1}{N H W} \sum_{i,h,w} |a^s_i - a^t_i|_{hw}^{p_2},
    a = q / \max(\|q\|_2, 10^{-12}),
    q_{hw} = \frac{1}{C} \sum_c F_{chw}^{p_1},
    F^t = \mathrm{encoder}(f^t), F^s = \mathrm{translator}(f^s);
    \text{before the stage: } L_{rec} = \mathrm{mean} (\mathrm{decoder}(\mathrm{encoder}(f^t)) - f^t)^2

Reads: the last map before pooling of both models.

Shapes: maps [N, C, H, W]; channels and sizes may differ. Both factors have k times the teacher's channels.

Source: HobbitLong/RepDistiller, distiller_zoo/FT.py (FactorTransfer), models/util.py (Paraphraser,
    Translator), helper/pretrain.py

Differences:
    - The paper compares the normalised factors themselves, the published code their attention maps, as AT does, with
      a mean over samples and positions.
    - Of two factors that differ in size the larger is average-pooled to the smaller, before the power is taken.
    - The paraphraser (encoder and decoder) has no batch norm, the translator has. The paraphraser is trained in a
      phase before the stage and frozen in the stage; its outputs are the same in train and eval mode.
    - In that phase the learning rate is 0.01 where the student is a ResNet or WRN of the zoo, and the stage's
      otherwise.
    - A factor that is zero everywhere has no attention: its gradient is zero here. Maps of 1x1 are refused: the
      attention to a single position is always the same.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import UserError, require_count, require_positive
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, Pretraining, TermInputs
from smskd.ops.geometry import attention_map, pool_to_smaller
from smskd.ops.pairing import last_maps
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean

SLOPE = 0.1
"""Negative slope of the leaky ReLU after each layer."""

SLOW_FAMILIES = frozenset({"ResNet", "WideResNet"})
"""Families of the zoo for which the published code trains the paraphraser with a learning rate of 0.01."""


@full_precision
def ft_loss(
    student: Tensor,
    teacher: Tensor,
    factor_power: int,
    difference_power: int,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean difference between the normalised attention maps of two factors.

    Kim et al. 2018, arXiv 1802.04977; equal to ``FactorTransfer`` of HobbitLong/RepDistiller.

    Args:
        student: the translator's output, [N, channels, height, width].
        teacher: the paraphraser's factor, [N, channels, height, width]; all but N may differ, the larger map is pooled.
        factor_power: p_1, exponent of the factors.
        difference_power: p_2, exponent of the absolute difference.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over the positions.
    """
    student, teacher = pool_to_smaller(student, teacher)
    difference = attention_map(student, factor_power) - attention_map(teacher, factor_power)
    return reduced(sample_mean(difference.abs().pow(difference_power)), reduction)


@full_precision
def ft_reconstruction_loss(reconstruction: Tensor, teacher: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Mean squared difference between the paraphraser's reconstruction and the teacher's map.

    Kim et al. 2018, arXiv 1802.04977; the loss of the phase before the stage in HobbitLong/RepDistiller.

    Args:
        reconstruction: [N, channels, height, width].
        teacher: same shape.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over its elements.
    """
    return reduced(sample_mean((reconstruction - teacher).square()), reduction)


class Paraphraser(nn.Module):
    """Autoencoder of the teacher's map; the code, the factor, has fewer channels.

    Args:
        channels: of the map.
        factor_channels: of the factor.
    """

    def __init__(self, channels: int, factor_channels: int) -> None:
        super().__init__()
        widths = [channels, channels, factor_channels, factor_channels]
        self.encoder = _layers("conv", nn.Conv2d, widths)
        self.decoder = _layers("deconv", nn.ConvTranspose2d, widths[::-1])

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction, of the shape of x."""
        y: Tensor = self.decoder(self.encoder(x))
        return y


def _layers(
    name: str, layer: Callable[..., nn.Module], widths: Sequence[int], batch_norm: bool = False
) -> nn.Sequential:
    """3x3 layers that keep the size, from each width to the next, each followed by a leaky ReLU."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        parts[f"{name}{number}"] = layer(inputs, outputs, 3, padding=1)
        if batch_norm:
            parts[f"bn{number}"] = nn.BatchNorm2d(outputs)
        parts[f"relu{number}"] = nn.LeakyReLU(SLOPE)
    return nn.Sequential(parts)


class FTState(nn.Module):
    """The paraphraser, frozen in the stage, and the trained translator.

    Args:
        student_channels: of the student's map.
        teacher_channels: of the teacher's map.
        factor_channels: of both factors.
    """

    def __init__(self, student_channels: int, teacher_channels: int, factor_channels: int) -> None:
        super().__init__()
        self.paraphraser = Paraphraser(teacher_channels, factor_channels).requires_grad_(False)
        widths = [student_channels, student_channels, factor_channels, factor_channels]
        self.translator = _layers("conv", nn.Conv2d, widths, batch_norm=True)


@dataclass(frozen=True)
class FT(Method):
    """Factor transfer: the student's last map is translated into the factor of the teacher's paraphraser.

    Attributes:
        paraphrase_rate: k, channels of the factor as a fraction of the teacher's.
        factor_power: p_1, exponent of the factors before they are averaged over the channels.
        difference_power: p_2, exponent of the difference.
        init_epochs: epochs in which the paraphraser is trained before the stage; 0: it remains random.
    """

    paraphrase_rate: float = 0.5
    factor_power: int = 2
    difference_power: int = 1
    init_epochs: int = 30

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 200.0

    def __post_init__(self) -> None:
        require_positive(paraphrase_rate=self.paraphrase_rate)
        require_count(factor_power=self.factor_power, difference_power=self.difference_power)
        require_count(0, init_epochs=self.init_epochs)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The last map before pooling of both models."""
        return last_maps(student, teacher, "FT")

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """``paraphraser``, which the stage does not train, and ``translator``.

        Raises:
            UserError: the smaller map is 1x1, or the factor would have no channel.
        """
        assert teacher is not None
        (own, *size), (channels, *other) = student.shapes[0], teacher.shapes[0]
        if all(min(pair) == 1 for pair in zip(size, other, strict=True)):
            raise UserError("FT compares spatial attention, and the smaller of the last maps is 1x1; use larger images")
        factor = int(channels * self.paraphrase_rate)
        if factor < 1:
            raise UserError(
                f"paraphrase_rate {self.paraphrase_rate} leaves no channel of the teacher's {channels}; "
                f"it must be at least 1/{channels}"
            )
        return FTState(own, channels, factor)

    def pretraining(self, student: ModelInfo) -> Pretraining | None:
        """The paraphraser alone is trained, to reconstruct the teacher's map."""
        rate = 0.01 if student.family in SLOW_FAMILIES else None
        return Pretraining(self.init_epochs, learning_rate=rate) if self.init_epochs else None

    def pretrained(self, state: nn.Module) -> nn.Module:
        """The paraphraser."""
        assert isinstance(state, FTState)
        return state.paraphraser

    def pretraining_loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``reconstruction``: of the teacher's map, [N]."""
        target = inputs.teacher.features[0]
        return {"reconstruction": ft_reconstruction_loss(self.pretrained(state)(target), target, "none")}

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``factor``: the difference between the attention maps of both factors, [N]."""
        assert isinstance(state, FTState)
        student = state.translator(inputs.student.features[0])
        teacher = state.paraphraser.encoder(inputs.teacher.features[0])
        return {"factor": ft_loss(student, teacher, self.factor_power, self.difference_power, "none")}
