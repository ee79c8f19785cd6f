"""The base of the models of the zoo: a chain of steps from the images to the logits, from which features are read."""

from abc import abstractmethod
from collections.abc import Callable, Collection

from torch import Tensor, nn

from smskd.interfaces.features import FeatureModel

Step = tuple[str, Callable[[Tensor], Tensor]]
"""The name of a feature, and the function that computes it from the feature before."""


class ZooModel(FeatureModel):
    """A network that is a chain of steps, each of which computes one feature from the one before.

    A subclass sets :attr:`stage_count` and implements :meth:`steps`. Its features are ``stem``, ``stage1`` to the last
    stage, and ``pooled``. It can be entered at any of them: see :meth:`continue_from`.
    """

    stage_count: int

    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """The steps in network order.

        The first takes images [N, channels, height, width]; the last, ``logits``, returns [N, classes]. Among them are
        all of :attr:`feature_names`, and ``<name>.preact`` for each of :attr:`preactivation_names`. No step changes
        its input in place.
        """

    @property
    def family(self) -> str:
        """The name of the model's class."""
        return type(self).__name__

    @property
    def stage_names(self) -> tuple[str, ...]:
        """``stage1`` to the last stage."""
        return tuple(f"stage{number}" for number in range(1, self.stage_count + 1))

    @property
    def feature_names(self) -> tuple[str, ...]:
        return ("stem", *self.stage_names, "pooled")

    @property
    def preactivation_names(self) -> frozenset[str]:
        return frozenset(self.stage_names)

    @property
    def stage_norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The batch norm that each stage ends with before its last ReLU; empty where it is several layers."""
        return ()

    def norm_before_relu(self, name: str) -> nn.BatchNorm2d | None:
        return dict(zip(self.stage_names, self.stage_norms, strict=False)).get(name)

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        return _run(self.steps(), x, names)

    def continue_from(self, name: str, feature: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named features that follow from a feature given in place of the model's own.

        Args:
            name: of the feature that is given: any of :attr:`feature_names`, or ``<name>.preact``.
            feature: [N, ...], of the shape that the model itself has there. It is not changed.
            names: of features behind it, ``logits`` among them if wanted. In a network whose batch norm and ReLU
                precede the convolution (:class:`~smskd.models.zoo.wrn.WideResNet`) ``stage1.preact`` lies behind
                ``stage1``, otherwise before it.

        Returns:
            The features by name; given the model's own feature, they are equal to those of :meth:`extract`.

        Raises:
            KeyError: a name is not one of the model's, or does not lie behind ``name``.
        """
        steps = self.steps()
        position = [step for step, _ in steps].index(name) if name in dict(steps) else None
        if position is None:
            raise KeyError(name)
        return _run(steps[position + 1 :], feature, names)

    def forward(self, x: Tensor) -> Tensor:
        """The logits [N, classes] of a batch [N, channels, height, width]."""
        for _name, step in self.steps():
            x = step(x)
        return x


def _run(steps: tuple[Step, ...], x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
    """The outputs of the named steps; none behind the last of them is run."""
    wanted = set(names)
    for name in sorted(wanted - {name for name, _ in steps}):
        raise KeyError(name)
    found: dict[str, Tensor] = {}
    for name, step in steps:
        if len(found) == len(wanted):
            break
        x = step(x)
        if name in wanted:
            found[name] = x
    return found
