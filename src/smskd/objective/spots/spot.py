"""The spots of a stage: the places at which its methods compare student and teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, TRAIN_VIEW, FeatureLayout, Reads, Tap
from smskd.interfaces.terms import WeightedMethod
from smskd.methods.at import AT
from smskd.methods.cc import CC
from smskd.methods.crd import CRD
from smskd.methods.fitnet import FitNet
from smskd.methods.ft import FT
from smskd.methods.kd import KD
from smskd.methods.nst import NST
from smskd.methods.pkt import PKT
from smskd.methods.rkd import RKD
from smskd.methods.sp import SP
from smskd.methods.vid import VID
from smskd.models.frozen import Frozen
from smskd.models.several import SeveralTeachers
from smskd.ops.pairing import pooled_vectors

GATED = (KD, FitNet, AT, SP, CC, VID, RKD, PKT, CRD, FT, NST)
"""The methods of the published experiments."""

NAME = "spot_adaptive"


@dataclass(frozen=True)
class Spot:
    """A feature of the student and the feature of the teacher that it is compared with."""

    student: str
    teacher: str


def check_methods(methods: Sequence[WeightedMethod]) -> None:
    """Refuses a method whose losses have no published gate.

    Raises:
        UserError: names the method.
    """
    for item in methods:
        if not isinstance(item.method, GATED):
            known = ", ".join(cls.__name__.lower() for cls in GATED)
            raise UserError(f"{NAME} has no gate for {item.name}; choose from {known}")


def check_one_teacher(teacher: Frozen | None) -> None:
    """Refuses several teachers, which cannot be grafted onto one student.

    Raises:
        UserError: there are several.
    """
    if teacher is not None and isinstance(teacher.model, SeveralTeachers):
        raise UserError(f"{NAME} has one teacher a stage, and there are {len(teacher.model.members)}")


def spots_of(reads: Reads) -> tuple[Spot, ...]:
    """The pairs of features that a method compares, in the order of its taps; none where it reads logits alone."""
    student, teacher = ([tap.feature for tap in taps if _is_feature(tap)] for taps in (reads.student, reads.teacher))
    return tuple(Spot(*pair) for pair in zip(student, teacher, strict=True))


def ordered(spots: Sequence[Spot], student: FeatureLayout, teacher: FeatureLayout) -> tuple[Spot, ...]:
    """The spots from the images to the logits, each once.

    Raises:
        UserError: two of them lie in different orders in the two networks, or share a feature of one of them.
    """
    own, other = list(student.features), list(teacher.features)
    result = sorted(set(spots), key=lambda spot: own.index(spot.student))
    for before, after in pairwise(result):
        if before.student == after.student or other.index(before.teacher) >= other.index(after.teacher):
            raise UserError(
                f"{NAME}: the methods of the stage pair {before.student} with the teacher's {before.teacher} and "
                f"{after.student} with {after.teacher}, between which the networks cannot be cut; put the methods into "
                "different stages"
            )
    return tuple(result)


def own_reads(methods: Sequence[Reads], student: FeatureLayout, teacher: FeatureLayout) -> Reads:
    """What policy and grafted pass read beside the methods.

    Args:
        methods: what each method of the stage reads.
        student, teacher: what the networks offer.

    Raises:
        UserError: one of the networks has no pooled vector.
    """
    pooled = pooled_vectors(student, teacher, NAME)
    spots = (spot for reads in methods for spot in spots_of(reads))
    features = dict.fromkeys(Tap(spot.teacher) for spot in spots)
    return Reads((*pooled.student, LOGITS), (*features, *pooled.teacher, LOGITS))


def _is_feature(tap: Tap) -> bool:
    assert tap.view == TRAIN_VIEW
    assert not tap.before_relu
    return tap.feature != LOGITS
