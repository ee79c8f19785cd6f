"""The encoded images of a data source, to be looked at before they are decoded."""

from collections.abc import Callable, Mapping
from typing import Any

from smskd.config.base import ComponentConfig
from smskd.config.paths import expanded
from smskd.data.sources.catalog import source as builtin
from smskd.data.sources.encoded_images import Encoded
from smskd.data.sources.image_decoding import MAX_PIXELS
from smskd.data.sources.options import checked_options

Parts = tuple[Encoded, Encoded]
Options = Mapping[str, Any]


def encoded_parts(source: ComponentConfig) -> Parts | None:
    """The encoded training and test images of a built-in source; None of one that has none.

    Raises:
        UserError: a mistake in the options, or files are missing or damaged.
    """
    find = _FINDERS.get(source.name)
    return None if find is None else find(checked_options(builtin(source.name), source.name, source.options))


def _image_folder(options: Options) -> Parts:
    from smskd.data.sources.image_folder import parts

    return parts(expanded(options["root"]), options.get("max_pixels", MAX_PIXELS))


def _tiny_imagenet(options: Options) -> Parts:
    from smskd.data.sources.tiny_imagenet import parts

    return parts(expanded(options["root"]))


def _imagenet(options: Options) -> Parts:
    from smskd.data.sources.imagenet import parts

    devkit = options.get("devkit")
    return parts(expanded(options["root"]), None if devkit is None else expanded(devkit))


def _webdataset(options: Options) -> Parts:
    from smskd.data.sources.shard_index import LabelPlace
    from smskd.data.sources.webdataset import parts

    place = LabelPlace(
        options.get("label_extension"), options.get("label_key", "label"), options.get("image_extension")
    )
    names, limit = options.get("class_names"), options.get("max_pixels", MAX_PIXELS)
    return parts(expanded(options["root"]), options.get("train"), options.get("test"), place, names, limit)


def _hf(options: Options) -> Parts:
    from smskd.data.sources.hf_splits import labelled_splits, open_splits

    name, train = options["dataset"], options.get("train_split", "train")
    test, splits = open_splits(
        name, options.get("configuration"), options.get("revision"), train, options.get("test_split")
    )
    return labelled_splits(name, splits, train, test, options.get("image_column"), options.get("label_column"))


_FINDERS: Mapping[str, Callable[[Options], Parts]] = {
    "image_folder": _image_folder,
    "tiny_imagenet": _tiny_imagenet,
    "imagenet": _imagenet,
    "webdataset": _webdataset,
    "hf": _hf,
}
