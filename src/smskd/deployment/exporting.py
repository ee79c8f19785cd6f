"""Everything that is wanted of a trained student, in one call."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from smskd.deployment.card import check_card, write_card
from smskd.deployment.deviation import Deviation, samples_of
from smskd.deployment.folder import check_folder, write_folder
from smskd.deployment.graphs import classifier_of, example_inputs
from smskd.deployment.hub import check_hub, push
from smskd.deployment.loading_lines import loading_lines
from smskd.deployment.onnx_graph import check_onnx, write_onnx
from smskd.deployment.student import Student, open_student
from smskd.deployment.torch_program import check_torch_program, program_of, write_torch_program
from smskd.errors import UserError
from smskd.models.bn_folding import folded
from smskd.training.globals import preserved_globals


@dataclass(frozen=True)
class Exported:
    """The result of :func:`export`.

    Attributes:
        folder: of weights and configuration.
        loads: Python expressions that load the student from it.
        onnx, torch_export: files of graphs.
        onnx_deviation, torch_export_deviation: how far their logits are from those of PyTorch.
        card: the model card.
        pushed: address of the repository on the hub.
        notes: a sentence for everything that is otherwise than one may expect.
    """

    folder: Path | None = None
    loads: tuple[str, ...] = ()
    onnx: Path | None = None
    onnx_deviation: Deviation | None = None
    torch_export: Path | None = None
    torch_export_deviation: Deviation | None = None
    card: Path | None = None
    pushed: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    safetensors: Path | None
    onnx: Path | None
    torch_export: Path | None
    with_preprocessing: bool
    card: bool
    licence: str | None
    push: str | None
    private: bool

    def check(self) -> None:
        """What can be said before the student is read."""
        if not (self.safetensors or self.onnx or self.torch_export or self.card or self.push):
            raise UserError("nothing is to be exported: give --safetensors, --onnx, --torch-export, --card or --push")
        if self.with_preprocessing and not (self.onnx or self.torch_export):
            raise UserError("--with-preprocessing is for the graphs of --onnx and --torch-export")
        if self.licence and not (self.card or self.push):
            raise UserError("--license is a field of the model card: give --card or --push")
        if self.safetensors is not None:
            check_folder(self.safetensors)
        if self.onnx is not None:
            check_onnx(self.onnx)
        if self.torch_export is not None:
            check_torch_program(self.torch_export)
        if self.push is not None:
            check_hub(self.push)


def export(
    path: str | Path,
    *,
    safetensors: str | Path | None = None,
    onnx: str | Path | None = None,
    torch_export: str | Path | None = None,
    with_preprocessing: bool = False,
    fold: bool = False,
    card: bool = False,
    license: str | None = None,
    push: str | None = None,
    private: bool = True,
    model: nn.Module | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
) -> Exported:
    """Writes the student of a run as files that other programs load, as ``smskd export`` does.

    What was trained around the student, such as the adapters and memories of methods, is never part of them.

    Args:
        path: the folder of a run, or a file of weights in it.
        safetensors: folder for weights, configuration, class names and preprocessing. :func:`smskd.load` loads it,
            timm or transformers where the network is theirs.
        onnx: file for an ONNX graph of float32 logits [N, classes], for any N. It is compared with PyTorch on up to
            256 test samples, by onnxruntime.
        torch_export: file (.pt2) for a program of ``torch.export``, likewise.
        with_preprocessing: the graphs take images of bytes, uint8 [N, channels, height, width], which they normalise;
            by default normalised float32.
        fold: batch norms are folded into the convolutions in front of them.
        card: a model card, ``README.md``, in the folder of weights; without one in that of the run.
        license: of the weights, in the card; an identifier of the Hugging Face hub such as ``apache-2.0``.
        push: repository on the hub, OWNER/NAME, to which weights, card and ONNX graph are uploaded.
        private: whether a new repository is private.
        model: the network, where a program has made it; it is not copied.
        overrides: changes to the run's recipe, such as the place of its data: ``data.source.root=FOLDER``.
        trust: whether Python objects that the run's files name are imported.

    Raises:
        UserError: there is no such student, a package is missing, a file cannot be written, or a graph's logits differ
            by more than rounding; then that file is not written.
    """
    wanted = _Wanted(
        None if safetensors is None else Path(safetensors),
        None if onnx is None else Path(onnx),
        None if torch_export is None else Path(torch_export),
        with_preprocessing,
        card,
        license,
        push,
        private,
    )
    wanted.check()
    student = open_student(path, model=model, overrides=overrides, trust=trust)
    if card or push:
        check_card(_card_folder(wanted, student), student)
    notes: tuple[str, ...] = ()
    if fold:
        student, notes = _folded(student)
    with preserved_globals():
        result = _with_graphs(Exported(notes=notes), student, wanted, trust=trust)
    if wanted.push is None:
        return _with_folder(result, student, wanted, wanted.safetensors)
    with TemporaryDirectory() as temporary:
        folder = wanted.safetensors or Path(temporary) / wanted.push.partition("/")[2]
        result = _with_folder(result, student, wanted, folder)
        return _pushed(result, folder, wanted)


def _folded(student: Student) -> tuple[Student, tuple[str, ...]]:
    found = folded(student.model, student.example)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in student.module.modules())
    left = norms - len(found.pairs)
    notes = found.notes
    if left and not notes:
        notes = (
            f"{left} of {norms} batch norms are not folded: no convolution is directly before them, or a feature is "
            "read between the two.",
        )
    if found.model is None:
        return student, notes or ("The network has no batch norms to fold.",)
    return replace(student, model=found.model, facts=replace(student.facts, folded=found.pairs)), notes


def _with_graphs(result: Exported, student: Student, wanted: _Wanted, *, trust: bool) -> Exported:
    if wanted.onnx is None and wanted.torch_export is None:
        return result
    classifier = classifier_of(student, with_preprocessing=wanted.with_preprocessing)
    checked = samples_of(student, classifier, trust=trust)
    program = program_of(classifier, example_inputs(student, classifier))
    if checked.note:
        result = replace(result, notes=(*result.notes, checked.note))
    if wanted.onnx is not None:
        found = write_onnx(wanted.onnx, program, classifier, student, checked)
        result = replace(result, onnx=wanted.onnx, onnx_deviation=found)
    if wanted.torch_export is not None:
        found = write_torch_program(wanted.torch_export, program, classifier, checked)
        result = replace(result, torch_export=wanted.torch_export, torch_export_deviation=found)
    return result


def _with_folder(result: Exported, student: Student, wanted: _Wanted, folder: Path | None) -> Exported:
    """With the folder of weights, where one is wanted, and the card."""
    place, library = student.weights.parent, None
    if folder is not None:
        written = write_folder(folder, student)
        place, library = folder, written.library
        notes = (*result.notes, *([written.note] if written.note else []))
        lines = loading_lines(student, str(folder), library)
        result = replace(result, folder=folder, loads=lines, notes=notes)
    if not (wanted.card or wanted.push):
        return result
    if wanted.push is not None:
        lines = loading_lines(student, wanted.push, library, on_hub=True)
    else:
        lines = loading_lines(student, place.name, library)
    own = folder or student.run
    assert own is not None
    return replace(result, card=write_card(own, student, lines, wanted.licence))


def _pushed(result: Exported, folder: Path, wanted: _Wanted) -> Exported:
    assert wanted.push is not None
    further = [file for file in (wanted.onnx, wanted.torch_export) if file is not None]
    address = push(folder, wanted.push, private=wanted.private, further=further)
    result = replace(result, pushed=address)
    return result if wanted.safetensors is not None else replace(result, folder=None, loads=(), card=None)


def _card_folder(wanted: _Wanted, student: Student) -> Path | None:
    """Where the card is written; None: in a folder that is yet to be made."""
    if wanted.safetensors is not None or wanted.push is not None:
        return wanted.safetensors
    return student.run
