"""Views of the images of a batch beside the one that the student is trained on, by name."""

from collections.abc import Collection

from torch import Tensor

from smskd.data.augment.crop_flip import Augmentation
from smskd.errors import UserError, nearest

VIEWS = ("strong",)
"""The views that loaders can make."""


def check_views(views: Collection[str]) -> None:
    """Raises UserError where no loader can make one of these views."""
    for name in sorted(views):
        if name not in VIEWS:
            raise UserError(f"no view of the images is called '{name}'{nearest(name, VIEWS)}")


def further_views(
    views: Collection[str], images: Tensor, augmentation: Augmentation, *, seed: int, epoch: int, index: Tensor
) -> dict[str, Tensor]:
    """The views of these images by name; arguments and errors as of :func:`smskd.data.augment.strong.strong_view`."""
    if not views:
        return {}
    # Imported where it is needed: it imports torchvision, which takes as long to import as torch itself.
    from smskd.data.augment.strong import strong_view

    return {"strong": strong_view(images, augmentation, seed=seed, epoch=epoch, index=index)}
