"""What the models of the zoo have in common: one walk through the network, from which everything is read."""

from abc import abstractmethod
from collections.abc import Collection, Iterator

from torch import Tensor, nn

from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureModel


class ZooModel(FeatureModel):
    """A network that is told once, as a walk: each feature under its name as soon as it is computed.

    A subclass sets :attr:`stage_count` and implements :meth:`walk`. Its features are ``stem``, ``stage1`` to
    the last stage, and ``pooled``.
    """

    stage_count: int

    @abstractmethod
    def walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Run the network on a batch [N, channels, height, width], a feature at a time.

        Yields:
            The name and the tensor of each feature in network order, each ``<stage>.preact`` where the model
            has one, and last ``logits`` [N, classes]. What follows a feature is not computed before the next
            one is asked for.
        """

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
        wanted = set(names)
        self._check(wanted)
        found: dict[str, Tensor] = {}
        if not wanted:
            return found
        for name, tensor in self.walk(x):
            if name in wanted:
                found[name] = tensor
                if len(found) == len(wanted):
                    break
        return found

    def forward(self, x: Tensor) -> Tensor:
        """The logits [N, classes] of a batch [N, channels, height, width]."""
        for _name, tensor in self.walk(x):
            x = tensor
        return x

    def _check(self, wanted: set[str]) -> None:
        before = {name + PREACTIVATION for name in self.preactivation_names}
        for name in sorted(wanted - set(self.feature_names) - before - {LOGITS}):
            raise KeyError(name)
