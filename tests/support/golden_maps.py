"""How the golden files of AB, FSP, FT, OFD and ReviewKD are read: losses of a phase before the stage, margins."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.features import ModelInfo
from smskd.interfaces.terms import Method, TermInputs
from smskd.methods.ofd import Connector
from smskd.methods.reviewkd import reviewkd_loss
from tests.support.golden import GoldenFile, Result, Spec


class PreparedSpec(Spec):
    """The loss of the phase before the stage."""

    def evaluate(self, file: GoldenFile, method: Method, inputs: TermInputs, state: nn.Module) -> Mapping[str, Tensor]:
        return method.pretraining_loss(inputs, state)


class FTSpec(Spec):
    """Two phases: files of the first have no student and no translator, files of the second no decoder."""

    def models(self, file: GoldenFile) -> tuple[ModelInfo, ModelInfo]:
        student, teacher = super().models(file)
        return (student if student.shapes else teacher), teacher

    def prepare(self, state: nn.Module, file: GoldenFile) -> None:
        unused = "paraphraser.decoder." if _has_student(file) else "translator."
        absent = frozenset(name for name in state.state_dict() if name.startswith(unused))
        Spec.prepare(replace(self, absent=absent), state, file)
        state.get_submodule("translator").train("translator eval" not in file.metadata["mode"])
        if not _has_student(file):
            state.get_submodule("paraphraser").requires_grad_(True)

    def evaluate(self, file: GoldenFile, method: Method, inputs: TermInputs, state: nn.Module) -> Mapping[str, Tensor]:
        loss = method.loss if _has_student(file) else method.pretraining_loss
        return loss(inputs, state)

    def run(self, file: GoldenFile) -> Result:
        result = super().run(file)
        factor = result.state.get_submodule("paraphraser.encoder")(file.tensors["teacher.feature.0"])
        return replace(result, outputs={"factor": factor})


def _has_student(file: GoldenFile) -> bool:
    return "student.feature.0" in file.tensors


class OFDSpec(Spec):
    """The margins of the file, once they have been found equal to the method's own."""

    def models(self, file: GoldenFile) -> tuple[ModelInfo, ModelInfo]:
        student, teacher = super().models(file)
        norms = []
        for level in range(len(teacher.shapes)):
            norm = nn.BatchNorm2d(teacher.shapes[level][0]).to(file.dtype)
            norm.weight.data.copy_(file.tensors[f"teacher.bn_weight.{level}"])
            norm.bias.data.copy_(file.tensors[f"teacher.bn_bias.{level}"])
            norms.append(norm)
        return student, replace(teacher, norms=tuple(norms))

    def prepare(self, state: nn.Module, file: GoldenFile) -> None:
        super().prepare(state, file)
        for level, stored in enumerate(file.under("teacher.margin.").values()):
            connector = state.get_submodule(f"connector{level}")
            assert isinstance(connector, Connector)
            off = (connector.margin - stored).abs().max()
            assert off <= 1e-6 * stored.abs().max(), f"margin {level}: off by {float(off):.3g}"
            connector.margin.copy_(stored)


class ReviewKDSpec(Spec):
    """A weight and an epoch in the file; one file has the loss without the blocks."""

    def batch(self, file: GoldenFile) -> Batch:
        return replace(super().batch(file), progress=Progress(file.hyperparameters.get("epoch", 1), 240))

    def prepare(self, state: nn.Module, file: GoldenFile) -> None:
        if file.under("param."):
            super().prepare(state, file)

    def evaluate(self, file: GoldenFile, method: Method, inputs: TermInputs, state: nn.Module) -> Mapping[str, Tensor]:
        if not file.under("param."):
            pairs = zip(inputs.student.features, inputs.teacher.features, strict=True)
            return {f"level{level}": reviewkd_loss(*pair, "none") for level, pair in enumerate(pairs)}
        weight = file.hyperparameters.get("weight", 1.0)
        return {name: weight * part for name, part in method.loss(inputs, state).items()}


_CONVOLUTIONS = frozenset(f"connector{level}.conv.bias" for level in range(8))

SPECS: dict[str, Spec] = {
    "ab": PreparedSpec(
        {"margin": "margin"},
        {"scale": 3 / 1000},
        read_elsewhere=frozenset({"level_weights"}),
        cancelled=_CONVOLUTIONS,
    ),
    "fsp": PreparedSpec(),
    "ft": FTSpec(
        {"k": "paraphrase_rate", "p1": "factor_power", "p2": "difference_power"},
        {"leaky_slope": 0.1, "normalize_eps": 1e-12},
    ),
    "ofd": OFDSpec(
        {},
        {"connector_kernel": 1, "margin_cdf_threshold": 1e-3},
        read_elsewhere=frozenset({"level_weights"}),
        absent=frozenset(f"connector{level}.margin" for level in range(8)),
    ),
    "reviewkd": ReviewKDSpec(
        {"warmup": "warmup"},
        {"pool_sizes": [4, 2, 1]},
        read_elsewhere=frozenset(
            {"in_channels", "mid_channels", "out_channels", "shapes", "out_shapes", "epoch", "weight"}
        ),
    ),
}
