"""The student and the teachers of a run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from smskd import models
from smskd.builder.learned import differences, fitted_student, fitted_teacher
from smskd.builder.saved import features_of, load_model_weights
from smskd.builder.tokens import check_student, known_tokenizer, own_tensors, prefix_of_teacher
from smskd.config.given import is_given
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.data import Dataset, TextDataset
from smskd.distributed.processes import ALONE, Processes
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import Inputs, device_of, form_of, mapped_inputs
from smskd.models.as_learned import with_prefix
from smskd.models.copying import copy_of
from smskd.models.creation import create_with
from smskd.models.frozen import Frozen
from smskd.models.metadata import Facts
from smskd.models.several import SeveralTeachers
from smskd.models.weights import read_weights
from smskd.strategies.resolved import ResolvedRecipe
from smskd.teacher_cache.key import structure, weights


def load_model(config: ModelConfig, dataset: Dataset | TextDataset, role: str, prefix: str = "") -> FeatureModel:
    """The student or the teacher of a recipe, with its weights and their facts, on the CPU.

    Args:
        config: name, weights and options.
        dataset: whose images it takes and whose classes it predicts.
        role: ``student`` or ``teacher``, for messages.
        prefix: of the names of the tensors of texts that it reads.

    Raises:
        UserError: no such model, weights that do not fit, or images that it does not take.
    """
    if is_given(config.name):
        raise needs_program(role, config.name)
    if config.weights is None:
        return _fresh(config, dataset, role, prefix)
    with _named(f"{role}.weights"):
        saved = read_weights(config.weights)
        if role == "student" and saved.facts.folded:
            raise UserError(f"{saved.file}: its batch norms are folded, so that it cannot be trained any more")
        config = replace(config, features=features_of(config, saved))
    model = _fresh(config, dataset, role, prefix)
    with _named(f"{role}.weights"):
        return load_model_weights(model, saved, config)


def _fresh(config: ModelConfig, dataset: Dataset | TextDataset, role: str, prefix: str) -> FeatureModel:
    form = form_of(dataset.example(torch.device("cpu")))
    example = None if isinstance(form, tuple) else own_tensors(form, prefix)
    channels, height, width = form if isinstance(form, tuple) else (0, 0, 0)
    with _named(role):
        model = create_with(
            config.name,
            config.options,
            classes=dataset.classes,
            channels=channels,
            image_size=(height, width),
            features=config.features,
            example=example,
        )
        models.describe(model, form if example is None else example)
    return model


def student_facts(student: FeatureModel, data: Facts) -> Facts:
    """What will be known of the student when it has learned: of its network, and of the data.

    A network of the zoo is named as long as it is as the zoo makes it; of any other that a program gives its class is.
    """
    known, module = models.facts(student), student.wrapped
    name = None if known is None else known.model
    if known is not None and name is not None and (name not in models.names() or _is_of_zoo(module, name, data)):
        return replace(data, model=name, options=known.options, features=known.features)
    cls = type(module)
    return replace(data, network=f"{cls.__module__}:{cls.__qualname__}")


def _is_of_zoo(module: nn.Module, name: str, data: Facts) -> bool:
    """Whether the network's layers are those of a new one of this name."""
    channels = 3 if data.image_shape is None else data.image_shape[0]
    with torch.device("meta"):
        fresh = models.create(name, classes=data.classes or 1, channels=channels)
    shapes, expected = (
        {key: tensor.shape for key, tensor in network.state_dict().items()} for network in (module, fresh)
    )
    return shapes == expected and type(module) is type(fresh) and repr(module) == repr(fresh)


def model_of(
    config: ModelConfig,
    own: nn.Module | None,
    dataset: Dataset | TextDataset,
    example: Inputs,
    role: str,
    prefix: str = "",
) -> FeatureModel:
    """The network of a recipe, or one that a program gives, which is moved to the device of the example.

    Args:
        config: of the network.
        own: the network that a program gives.
        dataset: the data.
        example: of the inputs of all networks, on the device of training.
        role: ``student`` or ``teacher``, for messages.
        prefix: of the names of the tensors of texts that it reads.
    """
    device = device_of(example)
    if own is None:
        return load_model(config, dataset, role, prefix).to(device)
    with _named(role):
        given = example if isinstance(example, Tensor) else own_tensors(example, prefix)
        model = models.adapt(own.to(device), given)
        models.describe(model, form_of(given))
    return model


def student_of(
    recipe: ResolvedRecipe, own: nn.Module | None, dataset: Dataset | TextDataset, data: Facts, example: Inputs
) -> FeatureModel:
    """The student, at the start of its training."""
    if isinstance(dataset, TextDataset):
        with _named("student" if own is not None else "student.weights"):
            check_student(known_tokenizer(recipe.student, own), dataset)
    model = model_of(recipe.student, own, dataset, example, "student")
    with _named("student" if own is not None else "student.weights"):
        return fitted_student(model, data, example)


def frozen_teachers(
    recipe: ResolvedRecipe,
    own: nn.Module | None,
    dataset: Dataset | TextDataset,
    data: Facts,
    example: Inputs,
    processes: Processes = ALONE,
) -> tuple[Frozen | None, ...]:
    """The teacher of each stage; stages with the same teacher share it. One that no stage can read is not loaded.

    Args:
        recipe: the run.
        own: a teacher that a program gives, which is copied.
        dataset: the data.
        data: what is known of them.
        example: images [N, channels, height, width], or samples of several tensors by name, on the device of training.
        processes: that train the run together, over which a teacher may be spread.
    """
    made: list[tuple[TeacherConfig, Frozen]] = []
    result: list[Frozen | None] = []
    for index, stage in enumerate(recipe.stages):
        config = stage.teacher
        if config is None or not (stage.methods or stage.anchor or config.weights or own is not None):
            result.append(None)
            continue
        frozen = next((frozen for known, frozen in made if known.same_network(config)), None)
        if frozen is None:
            where = "teacher" if config.same_network(recipe.teacher) else f"stages.{index}.teacher"
            given = own if where == "teacher" else None
            if config.shard and not processes.alone:
                frozen = _spread_teacher(config, given, dataset, data, example, where, processes)
            else:
                frozen = _teacher(config, given, dataset, data, example, where)
            made.append((config, frozen))
        result.append(frozen)
    return tuple(result)


def _teacher(
    config: TeacherConfig,
    own: nn.Module | None,
    dataset: Dataset | TextDataset,
    data: Facts,
    example: Inputs,
    where: str,
) -> Frozen:
    """The teacher, or all teachers of a stage as one network."""
    model, notes = _teacher_network(config, own, dataset, data, example, where)
    networks = [model]
    for number, other in enumerate(config.others):
        further, more = _teacher_network(other, None, dataset, data, example, f"{where}.others.{number}")
        networks.append(further)
        notes += more
    if config.others:
        model = SeveralTeachers(networks, [1.0, *(other.weight for other in config.others)])
        model.to(device_of(example))
    with _named(where if own is not None or config.others else f"{where}.weights"):
        frozen = Frozen(model, example, copy=False)
    frozen.notes = (*frozen.notes, *notes)
    return frozen


def _spread_teacher(
    config: TeacherConfig,
    own: nn.Module | None,
    dataset: Dataset | TextDataset,
    data: Facts,
    example: Inputs,
    where: str,
    processes: Processes,
) -> Frozen:
    """A teacher that is made on the CPU, and of which each process has its share on its device."""
    here = mapped_inputs(example, lambda tensor: tensor.cpu())
    frozen = _teacher(config, own, dataset, data, here, where)
    with _named(where):
        frozen.spread(device_of(example), processes)
    return frozen


def _teacher_network(
    config: ModelConfig,
    own: nn.Module | None,
    dataset: Dataset | TextDataset,
    data: Facts,
    example: Inputs,
    where: str,
) -> tuple[FeatureModel, tuple[str, ...]]:
    if own is None and config.weights is None and not is_given(config.name) and not config.options.get("pretrained"):
        raise UserError(
            f"{where}.weights: a teacher needs trained weights: a .safetensors or .pth file, or the folder of the run "
            "that trained it"
        )
    prefix = ""
    if isinstance(dataset, TextDataset):
        with _named(where if own is not None else f"{where}.weights"):
            prefix = prefix_of_teacher(known_tokenizer(config, own), dataset)
    model = model_of(config, None if own is None else copy_of(own), dataset, example, where, prefix)
    model = with_prefix(model, prefix)
    with _named(where if own is not None else f"{where}.weights"):
        known = models.facts(model)
        return fitted_teacher(model, data, example), tuple(differences(known, data))


def teacher_fingerprints(teachers: tuple[Frozen | None, ...]) -> Mapping[str, str]:
    """Of the weights, by stage where stages have different teachers."""
    distinct = list(dict.fromkeys(frozen for frozen in teachers if frozen is not None))
    known = {frozen: f"{weights(frozen.model.wrapped)}:{structure(frozen.model)}" for frozen in distinct}
    if len(distinct) == 1:
        return {"teacher": known[distinct[0]]}
    return {f"stages.{index}.teacher": known[frozen] for index, frozen in enumerate(teachers) if frozen is not None}


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Puts the key of a recipe, or the argument, before the message of an error."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}: {str(error).removeprefix('weights: ')}") from None


def needs_program(where: str, name: str) -> UserError:
    return UserError(
        f"{where}: the run was begun in Python with an object ({name[1:-1]}); go on with it there, with resume=True"
    )
