"""Where each part of a data set comes from, in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, ValidationConfig
from smskd.config.paths import expanded


def origins(config: DataConfig, has_validation: bool) -> dict[str, str]:
    """The origin of ``train``, ``test`` and, where there is one, ``validation``.

    Args:
        config: settings whose data have been loaded.
        has_validation: whether there are validation images, from the settings or from the source itself.
    """
    found = _of_source(config.source)
    if has_validation:
        found["validation"] = f"validation of the source {config.source.name}"
    for part, limit in (("train", config.subset.train), ("test", config.subset.test)):
        if limit is not None:
            found[part] += f" (at most {limit:,} of its images, drawn with seed {config.subset.seed})"
    if config.validation is not None:
        found["validation"] = _held_out(config.validation)
    return found


def _of_source(source: ComponentConfig) -> dict[str, str]:
    name, root = source.name, source.options.get("root")
    if name == "image_folder":
        return _of_image_folder(expanded(str(root)))
    if name == "parquet":
        return _of_parquet(expanded(str(root)))
    if name in ("tiny_imagenet", "imagenet"):
        folder = expanded(str(root))
        return {"train": str(folder / "train"), "test": str(folder / "val")}
    if name == "webdataset":
        return _of_shards(source.options)
    if name == "text":
        return _of_text_files(source.options)
    if name == "hf":
        return _of_hub(source.options)
    if name == "digits":
        return {"train": "the images that are not test images", "test": "a fixed stratified choice"}
    if name in ("cifar10", "cifar100"):
        return {"train": "the published training images", "test": "the published test images"}
    return {part: f"{part} of the source {name}" for part in ("train", "test")}


def _of_image_folder(root: Path) -> dict[str, str]:
    from smskd.data.sources.image_folder import test_folder

    return {"train": str(root / "train"), "test": str(test_folder(root))}


def _of_parquet(root: Path) -> dict[str, str]:
    from smskd.data.sources.parquet_files import find_splits

    return {part: _files(files) for part, files in zip(("train", "test"), find_splits(root), strict=True)}


def _of_shards(options: Mapping[str, Any]) -> dict[str, str]:
    from smskd.data.sources.shard_files import find_shards

    found = find_shards(expanded(str(options["root"])), options.get("train"), options.get("test"))
    return {part: _files(files) for part, files in zip(("train", "test"), found, strict=True)}


def _of_text_files(options: Mapping[str, Any]) -> dict[str, str]:
    from smskd.data.sources.text import find_files

    folder = expanded(str(options.get("root")))
    given = {part: options.get(f"{part}_file") for part in ("train", "test")}
    found = find_files(folder) or (None, None)
    return {part: str(folder / str(given[part] or own)) for part, own in zip(("train", "test"), found, strict=True)}


def _of_hub(options: Mapping[str, Any]) -> dict[str, str]:
    from smskd.data.sources.hf_splits import open_splits

    dataset, train = str(options["dataset"]), str(options.get("train_split", "train"))
    configuration, revision = options.get("configuration"), options.get("revision")
    test, _ = open_splits(dataset, configuration, revision, train, options.get("test_split"))
    return {part: f"split {split} of {dataset}" for part, split in (("train", train), ("test", test))}


def _files(files: list[Path]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0]}{more}"


def _held_out(validation: ValidationConfig) -> str:
    if validation.source is not None:
        return f"test images of {_options(validation.source)}"
    amount = f"{validation.count:,}" if validation.fraction is None else f"{validation.fraction:.3g} of them"
    return f"held out of the training images: {amount}, drawn with seed {validation.seed}"


def _options(source: ComponentConfig) -> str:
    options: dict[str, Any] = dict(source.options)
    return f"{source.name} {options}" if options else source.name
