"""The features that a method reads, the layers that it trains and its pretraining, for two networks of the zoo."""

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from smskd.cli.catalog import STUDENT, TEACHERS
from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, FeatureModel, Reads
from smskd.interfaces.terms import DataInfo, Method
from smskd.models import create, describe
from smskd.objective.tapped_features import model_info
from smskd.registry import METHODS

_CLASSES = 10
_DATA = DataInfo(100, _CLASSES, batch_size=64, labels=torch.arange(100) % _CLASSES)
_NUMBER = re.compile(r"_?\d[\d_]*$")


@dataclass(frozen=True)
class MethodFacts:
    """Facts of a method with its default hyper-parameters, for a ``resnet8`` that learns from a wider network.

    Attributes:
        taps: of the student, as in ``stage2`` or ``logits@strong``.
        trains: the names of the modules that the method trains beside the student, without their numbers.
        pretraining_epochs: of the phase before the stage; 0: there is none.
    """

    taps: tuple[str, ...] = ()
    trains: tuple[str, ...] = ()
    pretraining_epochs: int = 0


def method_facts(name: str) -> MethodFacts:
    """The facts of a method; empty if it refuses the networks.

    Args:
        name: as for ``smskd.registry.METHODS.find``.
    """
    for teacher in TEACHERS:
        with suppress(UserError):
            return _facts(METHODS.find(name)(), teacher)
    return MethodFacts()


def _facts(method: Method, teacher: str) -> MethodFacts:
    (student, own_layout), (other, other_layout) = _model(STUDENT), _model(teacher)
    reads: Reads = method.reads(own_layout, other_layout)
    own = model_info(student, own_layout, reads.student)
    state = method.build(own, model_info(other, other_layout, reads.teacher), _DATA)
    phase = method.pretraining(own)
    if phase is not None:
        method.pretrained(state).requires_grad_(True)
    return MethodFacts(tuple(map(str, reads.student)), _trained_modules(state), phase.epochs if phase else 0)


@cache
def _model(name: str) -> tuple[FeatureModel, FeatureLayout]:
    model = create(name, _CLASSES)
    return model, describe(model, (3, 32, 32))


def _trained_modules(state: nn.Module) -> tuple[str, ...]:
    """The names of the trained modules, without numbers, each once."""
    trained = [name.partition(".")[0] for name, value in state.named_parameters() if value.requires_grad]
    return tuple(dict.fromkeys(_NUMBER.sub("", name) for name in trained))
