"""The data of a run."""

from smskd.builder.networks import needs_program
from smskd.config.data import DataConfig
from smskd.config.given import is_given
from smskd.data import Dataset, TextDataset, load
from smskd.data.sources.catalog import Track as LoadTrack
from smskd.errors import UserError


def load_data(config: DataConfig, track: LoadTrack | None = None) -> Dataset | TextDataset:
    """The data of a recipe.

    Raises:
        UserError: a fault in its settings or files; the message begins with ``data``.
    """
    if is_given(config.source.name):
        raise needs_program("data.source", config.source.name)
    try:
        return load(config, track=track)
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith("data.") else f"data: {message}") from None


def data_facts(dataset: Dataset | TextDataset) -> dict[str, object]:
    """Facts of the data for the summary."""
    validation = {} if dataset.validation is None else {"validation_samples": len(dataset.validation)}
    return {
        "name": dataset.name,
        "train_samples": len(dataset.train),
        **validation,
        "test_samples": len(dataset.test),
        "classes": dataset.classes,
        **_form(dataset),
        "fingerprint": dataset.fingerprint(),
    }


def _form(dataset: Dataset | TextDataset) -> dict[str, object]:
    if isinstance(dataset, Dataset):
        return {"image_shape": list(dataset.shape)}
    return {"image_shape": None, "tokens": dataset.train.most()}
