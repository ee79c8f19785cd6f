"""Every method against what published code computed: loss, parts, gradients, buffers, memories.

``SMSKD_GOLDEN`` names a folder with ``losses/*.safetensors``; by default it is ``tests/golden``.
"""

import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from smskd.interfaces.terms import DataInfo
from smskd.methods._describe import golden_cases
from smskd.methods.crd import ContrastMemory
from smskd.registry import METHODS
from tests.support import golden_logits, golden_maps, golden_relations
from tests.support.golden import GoldenFile, Spec, check

GOLDEN = Path(__file__).parents[1] / "golden" / "losses"
FOLDER = Path(os.environ["SMSKD_GOLDEN"]) / "losses" if "SMSKD_GOLDEN" in os.environ else GOLDEN
FILES = sorted(FOLDER.glob("*.safetensors"))


class CRDSpec(Spec):
    """The file's contrast index instead of a drawn one; labels only have to be there."""

    def data(self, file: GoldenFile) -> DataInfo:
        samples = file.hyperparameters["n_data"]
        return DataInfo(samples, classes=2, batch_size=file.samples, labels=torch.arange(samples) % 2)

    def prepare(self, state: nn.Module, file: GoldenFile) -> None:
        super().prepare(state, file)
        assert isinstance(state, ContrastMemory)
        state.negatives.draw = lambda index: file.tensors["contrast_index"]  # type: ignore[method-assign]


SPECS: dict[str, Spec] = (
    golden_maps.SPECS
    | golden_logits.SPECS
    | golden_relations.SPECS
    | {
        "kd": Spec({"T": "temperature"}, weights=("ce_weight", "kd_weight")),
        "fitnet": Spec(
            {"hint_layer": "hint_layer"},
            {"bn_eps": 1e-5, "bn_momentum": 0.1},
            further_fields=lambda file: {"regressor": bool(file.under("param."))},
            cancelled=frozenset({"regressor.conv.bias"}),
        ),
        "at": Spec({"p": "power"}, {"normalize_eps": 1e-12}),
        "sp": Spec({}, {"normalize_eps": 1e-12}),
        "rkd": Spec(
            {"w_d": "distance_weight", "w_a": "angle_weight"},
            {"pdist_eps": 1e-12},
            part_scale=lambda method: {"distance": method.distance_weight, "angle": method.angle_weight},
        ),
        "pkt": Spec({}, {"eps": 1e-7}),
        "vid": Spec(
            {"init_pred_var": "initial_variance", "eps": "minimum_variance"}, {"mid_channels": "teacher channels"}
        ),
        "crd": CRDSpec(
            {
                "feat_dim": "feature_dim",
                "nce_k": "negatives",
                "nce_t": "temperature",
                "nce_m": "momentum",
                "mode": "mode",
            },
            {"eps": 1e-7},
            read_elsewhere=frozenset({"call", "n_data"}),
        ),
    }
)


def test_there_are_golden_files() -> None:
    assert FILES, f"no *.safetensors in {FOLDER}"


def test_the_package_tells_how_many_of_them_each_method_equals() -> None:
    """Not more and not fewer than :func:`test_equals_published_code` compares."""
    own = sorted(GOLDEN.glob("*.safetensors"))
    counted = Counter(GoldenFile(path).method for path in own)
    assert golden_cases() == counted
    assert counted.keys() <= set(METHODS.names()), "a method that is not there is skipped, not compared"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_equals_published_code(path: Path) -> None:
    check(GoldenFile(path), SPECS)
