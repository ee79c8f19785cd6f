"""The configuration of a network in the form of transformers, whose ``from_pretrained`` reads it."""

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from smskd.data.sources.tokenizers import Tokenizer
from smskd.deployment.preprocessing import Preprocessing
from smskd.deployment.student import Student, longest_text
from smskd.errors import not_installed
from smskd.runs.atomic_files import replacing, write_json

_BILINEAR = 2
"""``PIL.Image.Resampling.BILINEAR``"""


def write_transformers_configuration(path: Path, student: Student) -> str:
    """Writes ``config.json``; for images ``preprocessor_config.json``, for texts the tokenizer's files.

    Args:
        path: the folder.
        student: a network of transformers.

    Returns:
        The class of transformers that loads the folder.

    Raises:
        UserError: transformers is not installed, the tokenizer is gone, or a file cannot be written.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise not_installed("transformers", "transformers", error) from None
    module: Any = student.module
    config = deepcopy(module.config)
    config.architectures = [type(module).__name__]
    config.id2label = dict(enumerate(student.class_names))
    config.label2id = {name: place for place, name in enumerate(student.class_names)}
    with TemporaryDirectory() as temporary:
        config.save_pretrained(temporary)
        if student.reads_texts and student.tokenizer is not None:
            tokenizer = Tokenizer.load(student.tokenizer, "tokenizer")
            tokenizer.tokenizer.model_max_length = longest_text(student, tokenizer)
            tokenizer.tokenizer.save_pretrained(temporary)
        for file in sorted(Path(temporary).iterdir()):
            with replacing(path / file.name) as place:
                place.write_bytes(file.read_bytes())
    if student.preprocessing is not None:
        write_json(path / "preprocessor_config.json", _preprocessor(student.preprocessing))
    return "AutoModelForSequenceClassification" if student.reads_texts else "AutoModelForImageClassification"


def load_with_transformers(path: Path, name: str) -> dict[str, Tensor] | None:
    """The state that transformers itself loads from a folder; None where it cannot."""
    import transformers

    try:
        found: dict[str, Tensor] = getattr(transformers, name).from_pretrained(str(path)).state_dict()
    except Exception:  # of the library: a network that it cannot make from its own configuration
        return None
    return found


def _preprocessor(prepared: Preprocessing) -> dict[str, Any]:
    height, width, side = prepared.height, prepared.width, prepared.shorter_side
    crop = {} if side is None else {"do_center_crop": True, "crop_size": {"height": height, "width": width}}
    size = {"height": height, "width": width} if side is None else {"shortest_edge": side}
    return {
        "image_processor_type": "ViTImageProcessor" if side is None else "CLIPImageProcessor",
        "do_resize": True,
        "size": size,
        "resample": _BILINEAR,
        **crop,
        "do_convert_rgb": prepared.channels == 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(prepared.mean),
        "image_std": list(prepared.std),
    }
