"""Views of the pictures of a batch beside the one to train on, by name."""

from collections.abc import Collection

from torch import Tensor

from smskd.data.augment.crop_flip import Augmentation
from smskd.errors import UserError, nearest

VIEWS = ("strong",)
"""The views that loaders can give."""


def check_views(views: Collection[str]) -> None:
    """Raises UserError where a view is asked for that no loader can give."""
    for name in sorted(views):
        if name not in VIEWS:
            raise UserError(f"no view of the pictures is called '{name}'{nearest(name, VIEWS)}")


def further_views(
    views: Collection[str], images: Tensor, augmentation: Augmentation, *, seed: int, epoch: int, index: Tensor
) -> dict[str, Tensor]:
    """The views of these pictures by name; arguments and errors as of :func:`smskd.data.augment.strong.strong_view`."""
    if not views:
        return {}
    # Imported where it is wanted: it needs torchvision, which takes as long to import as torch itself.
    from smskd.data.augment.strong import strong_view

    return {"strong": strong_view(images, augmentation, seed=seed, epoch=epoch, index=index)}
