"""Several teachers of one stage as one network, whose features carry the number of their teacher."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureModel, Roles


class SeveralTeachers(FeatureModel):
    """Teachers of the same classes, to learn from at once: each method compares the student with each of them.

    The features of the n-th network are ``teacher<n>.<name>``, its logits ``teacher<n>.logits``. The logits of the
    whole are those of the ensemble, the logarithm of the weighted mean of the predicted probabilities.

    Args:
        networks: two or more; they are not copied.
        weights: of their losses relative to each other, positive; by default equal.

    Raises:
        UserError: there are fewer than two, or not a weight for each.
    """

    shares: Tensor

    def __init__(self, networks: Sequence[FeatureModel], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        given = [1.0] * len(networks) if weights is None else list(weights)
        if len(networks) < 2 or len(given) != len(networks) or min(given) <= 0:
            raise UserError("several teachers are two or more networks, each with a positive weight")
        self.networks = nn.ModuleList(networks)
        # In the state dict, so that the fingerprint of a run's teacher depends on it.
        self.register_buffer("shares", torch.tensor([weight / sum(given) for weight in given]))

    @property
    def members(self) -> tuple[FeatureModel, ...]:
        """The networks."""
        return tuple(network for network in self.networks if isinstance(network, FeatureModel))

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(
            prefix_of(number) + name
            for number, network in enumerate(self.members)
            for name in (*network.feature_names, LOGITS)
        )

    @property
    def preactivation_names(self) -> frozenset[str]:
        return frozenset(
            prefix_of(number) + name
            for number, network in enumerate(self.members)
            for name in network.preactivation_names
        )

    @property
    def roles(self) -> Roles:
        """None: the features of each teacher have roles of their own."""
        return Roles()

    def forward(self, x: Tensor) -> Tensor:
        """The ensemble's logits [N, classes] of a batch [N, channels, height, width]."""
        return self.extract(x, (LOGITS,))[LOGITS]

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        logits: list[Tensor] = []
        known = {*self.feature_names, *(name + PREACTIVATION for name in self.preactivation_names), LOGITS}
        for name in sorted(set(names) - known):
            raise KeyError(name)
        for number, network in enumerate(self.members):
            prefix = prefix_of(number)
            own = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
            wanted = own | ({LOGITS} if LOGITS in names else set())
            if not wanted:
                continue
            values = network.extract(x, wanted)
            found |= {prefix + name: values[name] for name in own}
            logits += [values[LOGITS]] if LOGITS in names else []
        return {**found, **({LOGITS: self._ensemble(logits)} if LOGITS in names else {})}

    def _ensemble(self, logits: list[Tensor]) -> Tensor:
        if len({values.shape[1] for values in logits}) > 1:
            counts = ", ".join(str(values.shape[1]) for values in logits)
            raise UserError(f"the teachers of one stage must have the same classes, and they have {counts}")
        shares = self.shares.to(logits[0].dtype).log().view(-1, 1, 1)
        return (torch.stack([values.log_softmax(dim=1) for values in logits]) + shares).logsumexp(dim=0)


def prefix_of(number: int) -> str:
    """Of the names of the features of a teacher, counted from 0."""
    return f"teacher{number + 1}."
