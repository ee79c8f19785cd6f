"""The choice of the features of student and teacher that are compared."""

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, Reads

Names = tuple[str, ...]


def require_teacher(teacher: FeatureLayout | None, method: str) -> FeatureLayout:
    """The teacher's layout.

    Args:
        teacher: the features that the teacher offers, if there is one.
        method: name of the method, for the message.

    Raises:
        UserError: there is no teacher.
    """
    if teacher is None:
        raise UserError(f"{method} compares the student with a teacher, and there is none")
    return teacher


def paired_stage_names(student: FeatureLayout, teacher: FeatureLayout | None, method: str) -> tuple[Names, Names]:
    """The stages of both models whose output maps are paired.

    Where the models have different numbers of stages, all stages of the shorter one are paired with the last ones of
    the longer: late stages correspond to each other in two networks, early ones do not.

    Args:
        student: the features that the student offers.
        teacher: the features that the teacher offers.
        method: name of the method, for the message.

    Returns:
        Names of the student's features and of the teacher's, equally many.

    Raises:
        UserError: there is no teacher, or one of the two models has no feature map.
    """
    teacher = require_teacher(teacher, method)
    _require_maps(student, teacher, method)
    count = min(len(student.stages), len(teacher.stages))
    return student.stages[-count:], teacher.stages[-count:]


def read_tokens(student: FeatureLayout, teacher: FeatureLayout | None) -> bool:
    """Whether the networks read sequences of tokens: one of them has layers of hidden states."""
    return bool(student.layers or (teacher is not None and teacher.layers))


def paired_layer_names(student: FeatureLayout, teacher: FeatureLayout | None, method: str) -> tuple[Names, Names]:
    """The layers of both networks whose hidden states are paired.

    Of the deeper network they are evenly spaced, its last layer among them: the layers 4, 8 and 12 of twelve are paired
    with those of a network of three.

    Args:
        student: the features that the student offers.
        teacher: the features that the teacher offers.
        method: name of the method, for the message.

    Returns:
        Names of the student's features and of the teacher's, equally many.

    Raises:
        UserError: there is no teacher, or one of the two networks has no layers of the same tokens.
    """
    teacher = require_teacher(teacher, method)
    for role, layout in (("student", student), ("teacher", teacher)):
        if not layout.layers:
            raise UserError(
                f"{method} compares hidden states token by token, and the {role} has none of the same tokens; its "
                f"features: {_names(layout)}; choose a method that reads logits or pooled features"
            )
    count = min(len(student.layers), len(teacher.layers))
    return _evenly(student.layers, count), _evenly(teacher.layers, count)


def _evenly(names: Names, count: int) -> Names:
    return tuple(names[step * len(names) // count - 1] for step in range(1, count + 1))


def paired_levels(student: FeatureLayout, teacher: FeatureLayout | None, method: str) -> Reads:
    """The maps of :func:`paired_stages`, or the hidden states of :func:`paired_layer_names`.

    Raises:
        UserError: there is no teacher, or one of the two models has neither.
    """
    if read_tokens(student, teacher):
        return Reads(*paired_layer_names(student, teacher, method))
    return paired_stages(student, teacher, method)


def paired_stages(student: FeatureLayout, teacher: FeatureLayout | None, method: str) -> Reads:
    """The output maps of the stages of :func:`paired_stage_names`.

    Raises:
        UserError: there is no teacher, or one of the two models has no feature map.
    """
    return Reads(*paired_stage_names(student, teacher, method))


def paired_preactivations(student: FeatureLayout, teacher: FeatureLayout | None, method: str) -> Reads:
    """The output maps of the stages of :func:`paired_stage_names` before their ReLU, where they have one.

    Raises:
        UserError: there is no teacher, or one of the two models has no feature map.
    """
    teacher = require_teacher(teacher, method)
    student_names, teacher_names = paired_stage_names(student, teacher, method)
    return Reads(map(student.before_relu, student_names), map(teacher.before_relu, teacher_names))


def last_maps(student: FeatureLayout, teacher: FeatureLayout | None, method: str) -> Reads:
    """The last map before pooling of both models.

    Raises:
        UserError: there is no teacher, or one of the two models has no feature map.
    """
    teacher = require_teacher(teacher, method)
    _require_maps(student, teacher, method)
    return Reads([student.last_map], [teacher.last_map])


def last_levels(student: FeatureLayout, teacher: FeatureLayout | None, method: str) -> Reads:
    """The maps of :func:`last_maps`, or the hidden states of the last layers.

    Raises:
        UserError: there is no teacher, or one of the two models has neither.
    """
    if read_tokens(student, teacher):
        own, target = paired_layer_names(student, teacher, method)
        return Reads(own[-1:], target[-1:])
    return last_maps(student, teacher, method)


def pooled_vectors(student: FeatureLayout, teacher: FeatureLayout | None, method: str) -> Reads:
    """The pooled vectors of both models, which their classifiers read.

    Raises:
        UserError: there is no teacher, or one of the two models has no such vector.
    """
    teacher = require_teacher(teacher, method)
    for role, layout in (("student", student), ("teacher", teacher)):
        if not _has_vector(layout):
            raise UserError(
                f"{method} reads the pooled vector, and the {role} has none; its features: {_names(layout)}"
            )
    return Reads([student.pooled], [teacher.pooled])


def _require_maps(student: FeatureLayout, teacher: FeatureLayout, method: str) -> None:
    for role, layout in (("student", student), ("teacher", teacher)):
        if not layout.stages and layout.layers:
            raise UserError(
                f"{method} compares feature maps, and a network that reads texts has none; choose a method that reads "
                "logits, pooled features or hidden states"
            )
        if not layout.stages:
            raise UserError(
                f"{method} compares feature maps, and the {role} has none; its features: {_names(layout)}; "
                "choose a method that reads logits or pooled features, or name its maps by hand, such as "
                "features: {stage1: module.of.the.network}"
            )


def _has_vector(layout: FeatureLayout) -> bool:
    if layout.roles is not None and layout.roles.pooled is None:
        return False
    return any(len(shape) == 1 for shape in layout.features.values())


def _names(layout: FeatureLayout) -> str:
    return ", ".join(layout.features) or "none"
