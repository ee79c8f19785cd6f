"""Which data source reads a folder. Nothing here imports torch."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from smskd.data.sources.catalog import names
from smskd.errors import UserError


def recognised(folder: Path) -> dict[str, str]:
    """Name and ``root`` of the data source that reads a folder, as ``data.source`` of a recipe has them.

    The source ``hf`` has ``dataset`` instead of ``root``.

    Raises:
        UserError: no source recognises the folder, or several do.
    """
    try:
        found = {name: root for name, find in _known().items() if (root := find(folder)) is not None}
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    for name in _SPECIAL:
        if name in found:
            found.pop("image_folder", None)
    if not found:
        raise UserError(
            f"{folder} is not recognised as a data set: there are neither image folders (train/CLASS/ and test/CLASS/ "
            "or val/CLASS/) nor Parquet files (train*.parquet and test*.parquet, also below one folder) nor CIFAR's "
            "files nor a saved DatasetDict nor shards (train*.tar and test*.tar) in it; give a recipe"
        )
    if len(found) > 1:
        raise UserError(f"{folder} is read by several data sources ({', '.join(found)}); give a recipe that names one")
    ((name, root),) = found.items()
    return {"name": name, "dataset" if name == "hf" else "root": str(root)}


def _image_folder(folder: Path) -> Path | None:
    return folder if _has_folders(folder / "train") else None


def _parquet(folder: Path) -> Path | None:
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    return folder if any(_has_parquet(place) for place in places) else None


def _has_parquet(folder: Path) -> bool:
    # A folder that cannot be read holds nothing that a source could read.
    with suppress(OSError):
        return any(folder.glob("train*.parquet")) or any((folder / "train").glob("*.parquet"))
    return False


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_dir() for path in folder.iterdir())


def _holding(name: str) -> Callable[[Path], Path | None]:
    """Finds the folder that holds a folder of this name, also where the latter is given."""

    def find(folder: Path) -> Path | None:
        if (folder / name).is_dir():
            return folder
        whole = folder if folder.name else folder.absolute()  # `.` has no name
        return whole.parent if whole.name == name else None

    return find


def _tiny_imagenet(folder: Path) -> Path | None:
    return folder if (folder / "wnids.txt").is_file() and (folder / "val" / "val_annotations.txt").is_file() else None


def _imagenet(folder: Path) -> Path | None:
    """With images of ``val`` outside of class folders; where they are in these, it is an image folder like others."""
    val = folder / "val"
    flat = val.is_dir() and not _has_folders(val) and any(val.glob("ILSVRC2012_val_*"))
    return folder if flat and _has_folders(folder / "train") else None


def _saved_dataset_dict(folder: Path) -> Path | None:
    return folder if (folder / "dataset_dict.json").is_file() else None


def _webdataset(folder: Path) -> Path | None:
    from smskd.data.sources.shard_files import has_shards

    return folder if has_shards(folder) else None


_FINDERS: Mapping[str, Callable[[Path], Path | None]] = {
    "image_folder": _image_folder,
    "parquet": _parquet,
    "cifar10": _holding("cifar-10-batches-py"),
    "cifar100": _holding("cifar-100-python"),
    "tiny_imagenet": _tiny_imagenet,
    "imagenet": _imagenet,
    "hf": _saved_dataset_dict,
    "webdataset": _webdataset,
}

_SPECIAL = ("tiny_imagenet", "imagenet")
"""Their folders look like image folders too."""


def _known() -> dict[str, Callable[[Path], Path | None]]:
    return {name: find for name, find in _FINDERS.items() if name in names()}
