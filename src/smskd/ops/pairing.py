"""Which features of student and teacher are compared."""

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, Reads


def paired_stages(student: FeatureLayout, teacher: FeatureLayout, method: str) -> Reads:
    """The maps that the stages of both models put out, paired.

    Where the models have different numbers of stages, the last ones of the longer are paired with all of
    the shorter: late stages are the ones that mean the same in two networks.

    Args:
        student: what the student offers.
        teacher: what the teacher offers.
        method: the method's name, for the message.

    Raises:
        UserError: one of the two has no map.
    """
    _require_maps(student, teacher, method)
    count = min(len(student.stages), len(teacher.stages))
    return Reads(student.stages[-count:], teacher.stages[-count:])


def last_maps(student: FeatureLayout, teacher: FeatureLayout, method: str) -> Reads:
    """The last map before pooling of both models.

    Raises:
        UserError: one of the two has no map.
    """
    _require_maps(student, teacher, method)
    return Reads((student.last_map,), (teacher.last_map,))


def pooled_vectors(student: FeatureLayout, teacher: FeatureLayout, method: str) -> Reads:
    """The vectors that the classifiers of both models read.

    Raises:
        UserError: one of the two offers no vector.
    """
    for side, layout in (("student", student), ("teacher", teacher)):
        if not any(len(shape) == 1 for shape in layout.features.values()):
            raise UserError(f"{method} reads the pooled vector and the {side} offers none; it has {_offered(layout)}")
    return Reads((student.pooled,), (teacher.pooled,))


def _require_maps(student: FeatureLayout, teacher: FeatureLayout, method: str) -> None:
    for side, layout in (("student", student), ("teacher", teacher)):
        if not layout.stages:
            raise UserError(
                f"{method} compares feature maps and the {side} has none (it offers {_offered(layout)}); "
                "choose a method that reads logits or pooled features"
            )


def _offered(layout: FeatureLayout) -> str:
    return ", ".join(layout.features) or "no feature"
