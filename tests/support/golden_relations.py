"""How the golden files of CC, NST, KDSVD, SRRL, SimKD and SemCKD are read."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from smskd.interfaces.features import ModelInfo
from smskd.interfaces.terms import DataInfo, Method, TermInputs
from smskd.methods.kdsvd import EXTRA, KDSVD, kdsvd_loss, singular_features
from smskd.methods.semckd import SemCKD
from tests.support.golden import GoldenFile, Result, Spec


class ClassifierSpec(Spec):
    """The teacher's classifier, whose weights are among the parameters of the file."""

    def models(self, file: GoldenFile) -> tuple[ModelInfo, ModelInfo]:
        student, teacher = super().models(file)
        classes, inputs = file.tensors["param.teacher_classifier.weight"].shape
        return student, replace(teacher, classes=classes, classifier=nn.Linear(inputs, classes))


class SimKDSpec(ClassifierSpec):
    """The student is transformed before the loss reads it."""

    def evaluate(self, file: GoldenFile, method: Method, inputs: TermInputs, state: nn.Module) -> Mapping[str, Tensor]:
        student = method.head(inputs.student, state)
        # Stored outside of the module's members; a second pass would update the batch norms again.
        object.__setattr__(state, "seen", student.logits)
        return method.loss(replace(inputs, student=student), state)

    def run(self, file: GoldenFile) -> Result:
        result = super().run(file)
        return replace(result, outputs={"logits": result.state.seen})


class SRRLSpec(ClassifierSpec):
    """The logits that the loss saw."""

    def prepare(self, state: nn.Module, file: GoldenFile) -> None:
        super().prepare(state, file)
        seen: list[Tensor] = []
        classifier = state.get_submodule("teacher_classifier")
        classifier.register_forward_hook(lambda module, inputs, output: seen.append(output))
        object.__setattr__(state, "seen", seen)

    def run(self, file: GoldenFile) -> Result:
        result = super().run(file)
        return replace(result, outputs={"logits": result.state.seen[-1]})


class KDSVDSpec(Spec):
    """The teacher's vectors with the signs of the file, after a check that they are equal up to signs."""

    def evaluate(self, file: GoldenFile, method: Method, inputs: TermInputs, state: nn.Module) -> Mapping[str, Tensor]:
        assert isinstance(method, KDSVD)
        tolerance = max(file.rtol, 1e-9)
        vectors, values = [], []
        for level, feature in enumerate(inputs.teacher.features):
            found, sizes = singular_features(method.matrices(feature), method.rank)
            stored = file.tensors[f"aux.teacher_v.{level}"]
            signs = (found * stored).sum(1, keepdim=True).sign()
            torch.testing.assert_close(found * signs, stored, rtol=0, atol=tolerance)
            torch.testing.assert_close(sizes, file.tensors[f"aux.teacher_s.{level}"], rtol=tolerance, atol=tolerance)
            vectors.append(found * signs)
            values.append(sizes)
        own = [singular_features(method.matrices(f), method.rank + EXTRA)[0] for f in inputs.student.features]
        losses = kdsvd_loss(own, vectors, values, "none")
        unsigned = method.loss(inputs, state)
        assert unsigned.keys() == {f"pair{pair}" for pair in range(len(losses))}
        return {f"pair{pair}": loss for pair, loss in enumerate(losses)}


class SemCKDSpec(Spec):
    """The batch size in the layers, and the attention."""

    def data(self, file: GoldenFile) -> DataInfo:
        return DataInfo(file.samples, classes=10, batch_size=file.hyperparameters["batch_size"])

    def run(self, file: GoldenFile) -> Result:
        result = super().run(file)
        method = self.make_method(file)
        assert isinstance(method, SemCKD)
        student, teacher = (self.output(role, file.tensors) for role in ("student", "teacher"))
        return replace(result, outputs={"attention": method.attention(student, teacher, result.state)})


SPECS: dict[str, Spec] = {
    "cc": Spec({"feat_dim": "feature_dim"}),
    "nst": Spec({}, {"kernel_power": 2, "normalize_eps": 1e-12}),
    "kdsvd": KDSVDSpec(
        {"k": "rank"},
        {"normalize_eps": 1e-12, "rbf_denominator": 8},
        read_elsewhere=frozenset({"student_rank"}),
        further_fields=lambda file: {"matrix": "rows" if "mdistiller" in file.metadata["source"] else "positions"},
    ),
    "srrl": SRRLSpec(
        {"feature_weight": "feature_weight", "regression_weight": "regression_weight", "variant": "variant"},
        part_scale=lambda method: {
            "feature": method.feature_weight,
            "softmax_regression": method.regression_weight,
        },
    ),
    "simkd": SimKDSpec({"factor": "factor"}),
    "semckd": SemCKDSpec({"soft": "temperature", "factor": "factor"}, read_elsewhere=frozenset({"batch_size"})),
}
