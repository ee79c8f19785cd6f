"""The grafted network: at each spot a sample goes on with the activation of the teacher or of the student."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, FeatureLayout, FeatureModel
from smskd.interfaces.inputs import Inputs
from smskd.models.dry_run import in_eval_mode, preserve_state
from smskd.models.frozen import Frozen
from smskd.models.probe import close, full_precision, probe_inputs
from smskd.objective.spots.spot import NAME, Spot
from smskd.ops.spot_regressor import spot_regressor


@dataclass(frozen=True)
class Grafted:
    """What the grafted pass gives.

    Attributes:
        to_teacher: for each spot [N, ...], the input of the teacher's next segment.
        to_student: likewise of the student's.
        student_logits, teacher_logits: [N, classes] of the last segments.
        logits: [N, classes], of each sample the one or the other, by its last decision.
    """

    to_teacher: tuple[Tensor, ...]
    to_student: tuple[Tensor, ...]
    student_logits: Tensor
    teacher_logits: Tensor
    logits: Tensor


class Grafting(nn.Module):
    """The regressors between both networks, and the pass through the two.

    Args:
        spots: from the images to the logits.
        student, teacher: what the networks offer.

    Raises:
        UserError: features of different kinds are paired.
    """

    def __init__(self, spots: Sequence[Spot], student: FeatureLayout, teacher: FeatureLayout) -> None:
        super().__init__()
        self.spots = tuple(spots)
        shapes = [(student.features[spot.student], teacher.features[spot.teacher]) for spot in spots]
        try:
            self.hint = nn.ModuleList([spot_regressor(own, other) for own, other in shapes])
            self.anti_hint = nn.ModuleList([spot_regressor(other, own) for own, other in shapes])
        except UserError as error:
            raise UserError(f"{NAME}: {error}") from None

    def forward(
        self, student: FeatureModel, teacher: Frozen, x: Tensor, outputs: Mapping[str, Tensor], taken: Tensor
    ) -> Grafted:
        """Runs both networks side by side; gradients reach the decisions and the regressors, no weights of the two.

        Args:
            student: runs in eval mode; its modes and statistics are left as they are.
            teacher: runs from the first spot on.
            x: [N, channels, height, width], the images.
            outputs: the teacher's own outputs for them, at the first spot or, where there is none, its logits.
            taken: [N, K], 1 where the sample takes the teacher.
        """
        to_teacher: list[Tensor] = []
        to_student: list[Tensor] = []
        with in_eval_mode(student), constant_weights(student):
            names = [spot.student for spot in self.spots] + [LOGITS]
            s = student.extract(x, names[:1])[names[0]]
            t = outputs[self.spots[0].teacher if self.spots else LOGITS]
            for number, spot in enumerate(self.spots):
                a = taken[:, number].view(-1, *[1] * (s.dim() - 1))
                v = (1 - a) * self.hint[number](s) + a * t
                u = (1 - a) * s + a * self.anti_hint[number](t)
                to_teacher.append(v)
                to_student.append(u)
                last = number + 1 == len(self.spots)
                own = names[number + 1]
                other = LOGITS if last else self.spots[number + 1].teacher
                s = student.continue_from(spot.student, u, (own,))[own]
                t = teacher.continue_from(spot.teacher, v, (other,))[other]
        a = taken[:, -1:]
        return Grafted(tuple(to_teacher), tuple(to_student), s, t, (1 - a) * s + a * t)


@contextmanager
def constant_weights(model: nn.Module) -> Iterator[None]:
    """Within, the weights are constants for autograd: gradients pass through the network and do not reach them."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def check_continues(role: str, model: FeatureModel, example: Inputs, names: Sequence[str]) -> None:
    """Refuses a network that cannot be entered at the spots, or that then gives other logits than its own.

    Args:
        role: ``student`` or ``teacher``, for messages.
        model: it is left as it is.
        example: images [N, channels, height, width], for their shape.
        names: of its features at the spots.

    Raises:
        UserError: names the network and the feature.
    """
    for name in names:
        with preserve_state(model), full_precision():
            own = model.extract(probe_inputs(model, example, 2), (name, LOGITS))
            try:
                found = model.continue_from(name, own[name], (LOGITS,))[LOGITS]
            except (NotImplementedError, KeyError):
                raise UserError(
                    f"{NAME} runs the {role} from its feature '{name}' on, which {_name(model)} does not allow; "
                    "take a network of the zoo, or one with a continue_from of its own"
                ) from None
        if found.shape != own[LOGITS].shape or not close(found, own[LOGITS]):
            raise UserError(
                f"{NAME}: continued from its own feature '{name}', the {role} ({_name(model)}) gives other logits than "
                "from the images; its continue_from or its features must be corrected"
            )


def _name(model: FeatureModel) -> str:
    return type(model.wrapped).__name__
