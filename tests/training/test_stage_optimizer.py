"""The optimizer from one stage to the next."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.optimization import OptimizerConfig
from smskd.config.stage import StageConfig
from smskd.training.config import RunConfig
from tests.support import tiny
from tests.support.stage_starts import StageStart

ADAMW = OptimizerConfig(name="adamw", learning_rate=0.003)


def two_stages(second: StageConfig, methods: tiny.Methods = ("kd",)) -> RunConfig:
    """One epoch of FitNets, then two."""
    stages = [(StageConfig(ends_after=1), ["fitnet"]), (second, methods)]
    return tiny.built(tiny.recipe(stages, epochs=3, anchor=ReferenceKL()))


def test_keep_carries_the_momentum_of_the_student(starts: list[StageStart], tmp_path: Path) -> None:
    """The adapters of the first stage are no longer trained, those of the second are, and begin without momentum."""
    made = two_stages(StageConfig(optimizer_state="keep"), ["vid"])
    saved = [load_file(tmp_path / "checkpoint.safetensors") for _ in tiny.epochs_of(made, tmp_path)]
    names = [f"student.{name}" for name, _ in made.student.named_parameters()]
    assert starts[0].momentum == {}
    assert set(starts[1].momentum) == set(names)
    for number, name in enumerate(names):
        assert torch.equal(starts[1].momentum[name], saved[0][f"optimizer.{number}.momentum_buffer"])
    first, second = (start.trained - set(names) for start in starts)
    assert all(set(names) < start.trained for start in starts)
    assert first == {f"_states.0.regressor.{name}" for name in ("conv.weight", "conv.bias", "bn.weight", "bn.bias")}
    assert second
    assert all(name.startswith("_states.0.level") for name in second)
    adapter = "terms.0.level0.conv1.weight"
    assert not torch.equal(saved[1][adapter], saved[2][adapter])


def test_reset_begins_without_momentum(starts: list[StageStart], tmp_path: Path) -> None:
    tiny.trained(two_stages(StageConfig(optimizer_state="reset")), tmp_path / "reset")
    assert starts[1].momentum == {}
    tiny.trained(two_stages(StageConfig(optimizer_state="keep")), tmp_path / "keep")
    keep, reset = (tiny.outcome(tmp_path / choice)["weights"] for choice in ("keep", "reset"))
    assert keep["stages/1/student.safetensors"] == reset["stages/1/student.safetensors"]
    assert keep["student.safetensors"] != reset["student.safetensors"]


def test_two_stages_without_method_and_anchor_are_one(tmp_path: Path) -> None:
    """Nothing but the boundary lies between them."""
    split = tiny.recipe([(StageConfig(ends_after=2), []), (StageConfig(), [])], epochs=4)
    tiny.trained(tiny.built(split), tmp_path / "split")
    tiny.trained(tiny.built(tiny.recipe([(StageConfig(), [])], epochs=4)), tmp_path / "whole")
    one, other = tiny.outcome(tmp_path / "split"), tiny.outcome(tmp_path / "whole")
    assert one["weights"]["student.safetensors"] == other["weights"]["student.safetensors"]


@pytest.mark.parametrize("kinds", [("sgd", "adamw"), ("adamw", "sgd")], ids="-".join)
def test_another_optimizer_begins_without_state(
    kinds: tuple[str, str], starts: list[StageStart], tmp_path: Path
) -> None:
    """The state of one kind of optimizer means nothing to the other, ``keep`` or not."""
    made = {"sgd": OptimizerConfig(), "adamw": ADAMW}
    stages = [(StageConfig(epochs=1, optimizer=made[kind]), ["fitnet"]) for kind in kinds]
    tiny.trained(tiny.built(tiny.recipe(stages, epochs=2, anchor=ReferenceKL())), tmp_path)
    classes = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    assert [start.optimizer for start in starts] == [classes[kind] for kind in kinds]
    assert starts[1].momentum == {}
