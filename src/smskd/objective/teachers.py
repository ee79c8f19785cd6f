"""The teachers that the methods of a stage are compared with, each by itself."""

from dataclasses import dataclass, replace

from smskd.interfaces.features import FeatureLayout, FeatureModel, Tap
from smskd.interfaces.inputs import InputForm
from smskd.models import describe
from smskd.models.several import SeveralTeachers, prefix_of


@dataclass(frozen=True)
class Member:
    """One of the teachers of a stage.

    Attributes:
        model: the network.
        layout: what it offers.
        prefix: of its features among the outputs of the stage's teacher.
        name: added to the names of methods; both are empty where it is the only one.
        share: of its losses in the sum over all teachers.
    """

    model: FeatureModel
    layout: FeatureLayout
    prefix: str = ""
    name: str = ""
    share: float = 1.0

    def tap(self, own: Tap) -> Tap:
        """A tap of the member as a tap of the stage's teacher."""
        return replace(own, feature=self.prefix + own.feature)


def members_of(model: FeatureModel, input_form: InputForm) -> tuple[Member, ...]:
    """The teachers in a network: the networks of :class:`SeveralTeachers`, or itself.

    Args:
        model: the stage's teacher.
        input_form: of a sample.
    """
    if not isinstance(model, SeveralTeachers):
        return (Member(model, describe(model, input_form)),)
    return tuple(
        Member(own, describe(own, input_form), prefix_of(number), f".teacher{number + 1}", share)
        for number, (own, share) in enumerate(zip(model.members, model.shares.tolist(), strict=True))
    )
