"""The files of spot-adaptive distillation: how their tensors become objectives, and the names of their parameters."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from smskd import models
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureModel, Roles
from smskd.interfaces.terms import DataInfo, WeightedMethod
from smskd.methods.crd import ContrastMemory
from smskd.models.frozen import Frozen
from smskd.models.zoo import mobilenetv2, resnet, shufflenetv1, vgg, wrn
from smskd.objective.parts import StageParts
from smskd.objective.spots.objective import SpotAdaptiveObjective
from smskd.registry import METHODS
from smskd.strategies.spot_adaptive import SpotAdaptive
from tests.support.golden import GoldenFile

MAPS = ("at", "nst", "vid")
LAYERS = {"0": "1", "1": "1", "3": "2", "4": "2", "6": "3", "7": "3"}
"""Of the positions in the published sequences of FT the numbers in the names of our layers."""


class Given(FeatureModel):
    """A network whose features are the tensors of a file, whatever the images are."""

    def __init__(self, features: Mapping[str, Tensor], logits: Tensor, stages: tuple[str, ...]) -> None:
        super().__init__()
        self.tensors = {**features, LOGITS: logits}
        self.stages = stages
        self.unused = nn.Parameter(torch.zeros(1, dtype=logits.dtype))

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.tensors if name != LOGITS)

    @property
    def roles(self) -> Roles:
        return Roles(stages=self.stages, last_map=self.stages[-1] if self.stages else None, pooled="pooled")

    def forward(self, x: Tensor) -> Tensor:
        return self.extract(x, (LOGITS,))[LOGITS]

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        return {name: self.tensors[name][: len(x)] for name in names}


class Ungrafted(SpotAdaptiveObjective):
    """The objective of networks that cannot be entered: its decisions and gated losses alone are used."""

    def _check_networks(self) -> None:
        pass


def strategy(file: GoldenFile) -> SpotAdaptive:
    script = json.loads(file.metadata["builder_arguments"]).get("script", "train")
    found = file.hyperparameters
    by: Any = {"train": "policy", "train_reverse": "reversed", "train_random": "random"}[script]
    return SpotAdaptive(
        by,
        temperature=found["T"],
        kd_weight=found["kd_weight"],
        graft_weight=found["classify_weight"],
        start="even",
        learning_rate_scale=found.get("lr_agent", 0.5) / found.get("lr", 1.0),
        weight_decay=found.get("weight_decay_agent", 1e-3),
    )


def methods(file: GoldenFile, made: SpotAdaptive) -> tuple[WeightedMethod, ...]:
    """The file's method; where it has the default weight of the strategy, that is what is used."""
    name, found = file.metadata["distiller"], file.hyperparameters
    options: dict[str, Any] = {}
    if name == "fitnet" and file.metadata["builder"] == "gate":
        options = {"hint_layer": 1}
    elif name == "cc":
        options = {"feature_dim": len(file.tensors["param.cc_embed_s.linear.bias"])}
    elif name == "crd":
        width = len(file.tensors["param.crd_embed_s.linear.bias"])
        options = {"feature_dim": width, "negatives": found["nce_k"], "temperature": found["nce_t"]}
        options["momentum"] = found["nce_m"]
    method = METHODS.find(name)(**options)
    expected = found["kd_weight"] if name == "kd" else found["other_kd"]
    assert made.weight(method) == expected or "builder" in file.metadata
    return (WeightedMethod(name, method, expected),)


def objective(
    file: GoldenFile, student: FeatureModel, teacher: FeatureModel, x: Tensor, **parts: Any
) -> SpotAdaptiveObjective:
    made = strategy(file)
    own = methods(file, made)
    samples = file.hyperparameters.get("n_data", len(x))
    data = DataInfo(samples, 10, len(x), labels=torch.arange(samples) % 2)
    stage = StageParts(student, Frozen(teacher, x[:1]), None, own, None, made.ce_weight(own), data, x[:1], **parts)
    cls = Ungrafted if isinstance(student, Given) else SpotAdaptiveObjective
    with mock.patch("smskd.strategies.spot_adaptive.SpotAdaptiveObjective", cls):
        result: Any = made.objective(stage)
    assert isinstance(result, SpotAdaptiveObjective)
    result.double() if file.dtype == torch.float64 else result.float()
    load(result, file)
    return result


def load(made: SpotAdaptiveObjective, file: GoldenFile) -> None:
    """Loads the file's parameters; every one must have a place."""
    own = made.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, value in file.under("param.").items():
            if name.startswith(("student.", "teacher.")):
                continue
            place = own[own_name(name)]
            assert place.shape == value.shape, f"{name}: {tuple(place.shape)} instead of {tuple(value.shape)}"
            place.copy_(value)
        if file.metadata["distiller"] == "crd":
            memory = made.methods[0].state
            assert isinstance(memory, ContrastMemory)
            memory.memory_student.copy_(file.tensors["state.memory_v1.before"])
            memory.memory_teacher.copy_(file.tensors["state.memory_v2.before"])
            normalisers = file.tensors["state.normaliser.before"]
            if bool((normalisers > 0).all()):
                memory.set_normalizers(*normalisers)
            rows = dict(zip(file.tensors["index"].tolist(), file.tensors["contrast_index"], strict=True))
            memory.negatives.draw = lambda index: torch.stack([rows[i] for i in index.tolist()])  # type: ignore[method-assign]


def own_name(name: str) -> str:
    """The name of a module's parameter in the file as the objective has it."""
    state = "_states.0."
    for pattern, replacement in (
        (r"policy\.(.*)", r"agent.policy.\1"),
        (r"(anti_hint|hint)_(\d+)\.(.*)", r"agent.grafting.\1.\2.\3"),
        (r"(anti_hint|hint)\.(.*)", r"agent.grafting.\1.0.\2"),
        (r"loss_hint\.(.*)", state + r"regressor.\1"),
        (r"(?:cc|crd)_embed_s\.linear\.(.*)", state + r"embed_student.\1"),
        (r"(?:cc|crd)_embed_t\.linear\.(.*)", state + r"embed_teacher.\1"),
        (r"vid\.(\d+)\.log_scale", state + r"level\1.log_scale"),
        (r"student\.(.*)", r"student.\1"),
    ):
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    if found := re.fullmatch(r"vid\.(\d+)\.regressor\.(\d)\.(.*)", name):
        return f"{state}level{found[1]}.conv{int(found[2]) // 2 + 1}.{found[3]}"
    found = re.fullmatch(r"(translator|paraphraser)\.(encoder|decoder)\.(\d)\.(.*)", name)
    assert found, f"no module of the objective is the file's {name}"
    kind = {"encoder": "conv", "decoder": "deconv"}[found[2]] if found[3] in "036" else "bn"
    part = "translator" if found[1] == "translator" else f"paraphraser.{found[2]}"
    return f"{state}{part}.{kind}{LAYERS[found[3]]}.{found[4]}"


def given_networks(file: GoldenFile, leaves: Mapping[str, Tensor]) -> tuple[Given, Given]:
    """Student and teacher of a ``gate`` file; the student's features are the leaves."""
    result = []
    for role, tensors in (("student", leaves), ("teacher", file.tensors)):
        count = len(file.features(role))
        features = {f"stage{number + 1}": tensors[f"{role}.feature.{number}"] for number in range(count)}
        stages = tuple(features)
        if count and features["stage1"].dim() == 2:  # the pooled vector itself
            features, stages = {"pooled": features["stage1"]}, ()
        features = {**features, "pooled": features.get("pooled", file.tensors[f"{role}.pooled"])}
        result.append(Given(features, tensors[f"{role}.logits"], stages))
    return result[0], result[1]


def networks(file: GoldenFile) -> tuple[FeatureModel, FeatureModel]:
    """Student and teacher of a ``step`` or ``train`` file with their weights, of the type of the file."""
    classes = json.loads(file.metadata["builder_arguments"]).get("classes", 10)
    made = []
    for role in ("student", "teacher"):
        text = file.metadata[f"{role}_network"]
        model = _network(json.loads(text) if text.startswith("{") else {"class": text}, classes)
        if f"{role}_fill_seed" in file.metadata:
            _fill(model, int(file.metadata[f"{role}_fill_seed"]))
        model.to(file.dtype)
        given = file.under(f"param.{role}.")
        if given:
            keys = {key for key in model.state_dict() if not key.endswith("num_batches_tracked")}
            assert keys == {key for key in given if not key.endswith("num_batches_tracked")}
            model.load_state_dict(given, strict=False)
        made.append(model)
    return made[0], made[1]


def _network(spec: Mapping[str, Any], classes: int) -> FeatureModel:
    options = {key: value for key, value in spec.items() if key != "class"}
    match spec["class"]:
        case "ResNet":
            stem, *widths = options["num_filters"]
            return resnet.ResNet(options["depth"], stem, tuple(widths), classes)  # type: ignore[arg-type]
        case "WideResNet":
            return wrn.WideResNet(options["depth"], options["widen_factor"], classes)
        case "ShuffleNetV1":
            return _shuffle_net(options, classes)
        case "VGG":
            return _vgg(next(value for value in options.values() if isinstance(value, list)), classes)
        case "MobileNetV2":
            return mobilenetv2.MobileNetV2(classes, width=options.get("width_mult", 1.0))
        case name:
            return models.create(name, classes=classes)


def _shuffle_net(options: Mapping[str, Any], classes: int) -> FeatureModel:
    with mock.patch.object(shufflenetv1, "_GROUPS", options["groups"]):
        network = shufflenetv1.ShuffleNetV1(classes)
        inputs = shufflenetv1._STEM
        for number, (outputs, blocks) in enumerate(zip(options["out_planes"], options["num_blocks"], strict=True), 1):
            setattr(network, f"layer{number}", shufflenetv1._stage(blocks, inputs, outputs))
            inputs = outputs
    network.linear = nn.Linear(inputs, classes)
    return network


def _vgg(blocks: list[list[int]], classes: int) -> FeatureModel:
    widths = tuple(block[-1] for block in blocks)
    assert all(set(block) == {block[-1]} for block in blocks)
    with mock.patch.object(vgg, "_WIDTHS", widths):
        return vgg.VGG(tuple(map(len, blocks)), classes)  # type: ignore[arg-type]


def _fill(model: nn.Module, seed: int) -> None:
    """The rule of ``zoo.json``."""
    generator = torch.Generator().manual_seed(seed)
    state = model.state_dict()
    for key in sorted(state):
        old = state[key]
        if not old.is_floating_point():
            old.zero_()
        elif key.endswith("running_var") or (old.ndim == 1 and key.endswith("weight")):
            old.copy_(torch.rand(old.shape, generator=generator) + 0.5)
        elif old.ndim >= 2:
            old.copy_(torch.randn(old.shape, generator=generator) * (1.1 / (old.numel() / old.shape[0]) ** 0.5))
        else:
            old.copy_(torch.randn(old.shape, generator=generator) * 0.05)


def with_outputs(made: SpotAdaptiveObjective, item: Batch) -> Batch:
    """The batch with the outputs of the teacher."""
    return replace(item, outputs=made.precompute(item))


def batch(file: GoldenFile, x: Tensor, iteration: str = "") -> Batch:
    return Batch(x, file.tensors[f"labels{iteration}"], file.tensors.get("index"))
