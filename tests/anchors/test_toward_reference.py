"""A method toward the reference against the method itself, with the reference as its teacher."""

from typing import Any

import pytest
import torch
from torch import nn

from smskd.anchors.toward_reference import TowardReference
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureLayout, ModelInfo, Reads, Shape, Tap, TappedOutputs
from smskd.interfaces.terms import DataInfo, Method, TermInputs
from smskd.methods.ab import AB
from smskd.methods.crd import CRD
from smskd.methods.fitnet import FitNet
from smskd.methods.fsp import FSP
from smskd.methods.ft import FT
from smskd.methods.kd import KD
from smskd.methods.rkd import RKD
from smskd.methods.simkd import SimKD
from smskd.methods.sp import SP

CLASSES, SAMPLES = 5, 6
LAYOUT = FeatureLayout(
    {"stem": (4, 8, 8), "stage1": (4, 8, 8), "stage2": (8, 4, 4), "stage3": (12, 2, 2), "pooled": (12,)}, CLASSES
)
DATA = DataInfo(SAMPLES, CLASSES, batch_size=SAMPLES, labels=torch.arange(SAMPLES) % CLASSES)
METHODS = [KD(temperature=2.0), FitNet(), FitNet(hint_layer=3, regressor=False), SP(), RKD(), CRD(negatives=2)]


def shapes(taps: tuple[Tap, ...]) -> tuple[Shape, ...]:
    return tuple(LAYOUT.features[tap.feature] for tap in taps if tap.feature != LOGITS)


def info(taps: tuple[Tap, ...]) -> ModelInfo:
    return ModelInfo(shapes(taps), CLASSES, nn.Linear(12, CLASSES))


def outputs(taps: tuple[Tap, ...], seed: int) -> TappedOutputs:
    draws = torch.Generator().manual_seed(seed)
    features = tuple(torch.randn(SAMPLES, *shape, generator=draws) for shape in shapes(taps))
    return TappedOutputs(torch.randn(SAMPLES, CLASSES, generator=draws), features)


def seeded(build: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module: nn.Module = build()
        return module


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{type(method).__name__}")
def test_equals_the_method_with_the_reference_as_its_teacher(method: Method) -> None:
    anchor = TowardReference(method=method)
    direct, ours = method.reads(LAYOUT, LAYOUT), anchor.reads(LAYOUT, None)
    assert ours == Reads(direct.student, reference=direct.teacher)
    sides = info(ours.student), info(ours.reference), DATA
    states = seeded(lambda: method.build(*sides)), seeded(lambda: anchor.build(*sides))
    batch = Batch(torch.zeros(SAMPLES, 3, 8, 8), torch.arange(SAMPLES) % CLASSES, torch.arange(SAMPLES))
    student, reference = outputs(ours.student, 1), outputs(ours.reference, 2)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        expected = method.loss(TermInputs(batch, student, reference), states[0])
        torch.manual_seed(4)
        found = anchor.loss(TermInputs(batch, student, reference=reference), states[1])
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[part], expected[part]) for part in found)
    assert float(sum(part.detach().sum() for part in found.values())) > 0


@pytest.mark.parametrize("method", [KD(), SP(), RKD(), FitNet(regressor=False)], ids=lambda m: type(m).__name__)
def test_zero_at_the_reference(method: Method) -> None:
    anchor = TowardReference(method=method)
    reads = anchor.reads(LAYOUT, None)
    state = anchor.build(info(reads.student), info(reads.reference), DATA)
    same = outputs(reads.student, 1)
    batch = Batch(torch.zeros(SAMPLES, 3, 8, 8), torch.arange(SAMPLES) % CLASSES)
    parts = anchor.loss(TermInputs(batch, same, reference=same), state)
    assert max(float(part.abs().max()) for part in parts.values()) < 1e-6


def test_the_teacher_of_the_run_has_no_part_in_it() -> None:
    anchor = TowardReference()
    batch = Batch(torch.zeros(SAMPLES, 3, 8, 8), torch.arange(SAMPLES) % CLASSES)
    taps = anchor.reads(LAYOUT, LAYOUT)
    assert taps.teacher == ()
    student, teacher, reference = (outputs(taps.student, seed) for seed in (1, 2, 3))
    state = nn.Module()
    with_teacher = anchor.loss(TermInputs(batch, student, teacher, reference), state)
    without = anchor.loss(TermInputs(batch, student, reference=reference), state)
    assert torch.equal(with_teacher["kd"], without["kd"])


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("fitnet", FitNet()),
        ({"name": "fitnet"}, FitNet()),
        ({"name": "fitnet", "hint_layer": 3}, FitNet(hint_layer=3)),
        ("smskd.methods.sp:SP", SP()),
        (RKD(angle_weight=1.0), RKD(angle_weight=1.0)),
    ],
)
def test_a_method_by_object_name_or_mapping(written: Any, made: Method) -> None:
    assert TowardReference(method=written).method == made
    assert TowardReference(method=written) == TowardReference(method=made)


def test_relates_samples_as_its_method_does() -> None:
    assert TowardReference(method="rkd").relates_samples
    assert not TowardReference(method="kd").relates_samples


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "fitnt"}, "method: unknown method 'fitnt'; did you mean 'fitnet'"),
        ({"method": {"name": "fitnet", "hint": 3}}, r"method\.hint: unknown hyper-parameter of fitnet"),
        ({"method": {"hint_layer": 3}}, "method must be the name of a method, or a mapping with its name"),
        ({"method": 3}, "method must be the name of a method, or a mapping with its name"),
        ({"method": SimKD()}, "simkd replaces the student's last layers; choose another method"),
        ({"weight": -1}, "weight must be 0 or more, not -1"),
    ],
)
def test_refuses_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TowardReference(**values)


@pytest.mark.parametrize("method", [AB(), FSP(), FT()], ids=lambda method: type(method).__name__)
def test_refuses_a_phase_before_the_stage(method: Method) -> None:
    anchor = TowardReference(method=method)
    taps = anchor.reads(LAYOUT, None)
    with pytest.raises(UserError, match="has a phase before the stage; choose another method"):
        anchor.build(info(taps.student), info(taps.reference), DATA)


def test_accepts_such_a_method_without_its_phase() -> None:
    anchor = TowardReference(method=FSP(init_epochs=0, main_stage=True))
    taps = anchor.reads(LAYOUT, None)
    anchor.build(info(taps.student), info(taps.reference), DATA)
