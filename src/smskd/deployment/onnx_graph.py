"""A student as an ONNX file."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from smskd.deployment.deviation import Checked, Deviation, deviation
from smskd.deployment.graphs import LOGITS, Classifier
from smskd.deployment.student import Student
from smskd.errors import UserError, not_installed
from smskd.runs.atomic_files import replacing

_NEEDED = ("onnx", "onnxruntime", "onnxscript")


def check_onnx(path: Path) -> None:
    """What is needed, before any work.

    Raises:
        UserError: a package is missing, or the name of the file has another ending.
    """
    if path.suffix != ".onnx":
        raise UserError(f"--onnx: {path} must end with .onnx")
    for name in _NEEDED:
        try:
            __import__(name)
        except ImportError as error:
            raise not_installed(name, "onnx", error) from None


def write_onnx(
    path: Path,
    program: torch.export.ExportedProgram,
    classifier: Classifier,
    student: Student,
    checked: Checked,
) -> Deviation:
    """Writes an ONNX file and compares what onnxruntime computes with PyTorch.

    The class names, and the normalisation where it is not in the graph, are properties of its metadata, as JSON:
    ``class_names``, ``preprocessing``.

    Args:
        path: the file; it ends with .onnx.
        program: of the classifier.
        classifier: in eval mode.
        student: whose facts are written.
        checked: samples to compare.

    Raises:
        UserError: the network has no ONNX form, the file cannot be written, or its logits differ by more than
            rounding.
    """
    import onnx
    import onnxruntime

    with replacing(path) as temporary:
        try:
            with _quiet():
                found = torch.onnx.export(
                    program,
                    dynamo=True,
                    input_names=list(classifier.names),
                    output_names=[LOGITS],
                    verbose=False,
                )
        except Exception as error:  # of the exporter: an operation that has no ONNX form
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"the network has no ONNX form: {reason}") from error
        assert found is not None
        model = found.model_proto
        for key, value in _properties(student).items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
        onnx.checker.check_model(model)
        temporary.write_bytes(model.SerializeToString())
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        inputs = {one.name for one in session.get_inputs()}

        def graph(rows: tuple[Tensor, ...]) -> Tensor:
            named = zip(classifier.names, rows, strict=True)
            (logits,) = session.run([LOGITS], {name: tensor.numpy() for name, tensor in named if name in inputs})
            return torch.from_numpy(logits)

        return deviation(graph, classifier, checked, str(path))


def _properties(student: Student) -> dict[str, str]:
    prepared = {} if student.preprocessing is None else {"preprocessing": json.dumps(student.preprocessing.as_dict())}
    return {"class_names": json.dumps(student.class_names), **prepared}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines of the exporter about its own work."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
