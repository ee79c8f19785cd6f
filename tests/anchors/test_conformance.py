"""Every built-in anchor against the conformance checks, with the options that change what it reads or keeps."""

from collections.abc import Callable

import pytest

from smskd.anchors.ewc import EWC
from smskd.anchors.l2_sp import L2SP
from smskd.anchors.mean_teacher import MeanTeacher
from smskd.anchors.reference_kl import ReferenceKL
from smskd.anchors.toward_reference import TowardReference
from smskd.interfaces.terms import Anchor
from smskd.testing import ANCHOR_CHECKS

ANCHORS: dict[str, Anchor] = {
    "reference_kl": ReferenceKL(),
    "reference_kl weighted by the teacher": ReferenceKL(tcp_from="teacher"),
    "l2_sp": L2SP(),
    "l2_sp to the start": L2SP(toward="start"),
    "mean_teacher": MeanTeacher(),
    "mean_teacher squared": MeanTeacher(100.0, distance="mse"),
    "ewc": EWC(),
    "ewc online": EWC(fisher="sampled", decay=0.5),
    "toward_reference": TowardReference(),
    "toward_reference fitnet": TowardReference(method="fitnet"),
    "toward_reference rkd": TowardReference(method="rkd"),
}


@pytest.mark.parametrize("check", ANCHOR_CHECKS.values(), ids=ANCHOR_CHECKS.keys())
@pytest.mark.parametrize("anchor", ANCHORS.values(), ids=ANCHORS.keys())
def test_conformance(anchor: Anchor, check: Callable[[Anchor], None]) -> None:
    check(anchor)
