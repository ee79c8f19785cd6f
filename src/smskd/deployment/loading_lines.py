"""The Python expressions that load an exported student, for the terminal and the model card."""

from smskd import models
from smskd.deployment.student import Student


def loading_lines(student: Student, place: str, library: str | None, *, on_hub: bool = False) -> tuple[str, ...]:
    """Each loads the student by itself; the first with the library of its network, where that can.

    Args:
        student: that has been exported.
        place: the folder, or the id of the repository.
        library: ``timm`` or ``transformers``, where it loads the student; else None.
        on_hub: whether the place is a repository of the Hugging Face hub.
    """
    own = f"huggingface_hub.snapshot_download({place!r})" if on_hub else repr(place)
    if student.facts.model is None:
        further = ", model=network"
    else:
        further = "" if student.facts.model in models.names() else ", trust=True"
    lines = [f"smskd.load({own}{further})"]
    if library == "timm":
        lines.insert(0, f"timm.create_model({('hf-hub:' if on_hub else 'local-dir:') + place!r}, pretrained=True)")
    elif library == "transformers":
        kind = "SequenceClassification" if student.reads_texts else "ImageClassification"
        lines.insert(0, f"transformers.AutoModelFor{kind}.from_pretrained({place!r})")
    return tuple(lines)
