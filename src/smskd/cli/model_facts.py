"""One model in full, for images of any size."""

from typing import Any

from smskd.models import create, describe, macs, parameters
from smskd.models.feature_report import feature_facts
from smskd.models.zoo.catalog import CATALOG


def model_facts(name: str, image_size: tuple[int, int]) -> dict[str, Any]:
    """Parameters, multiply-accumulates and features of a model.

    Args:
        name: as for :func:`smskd.models.create`.
        image_size: height and width.

    Raises:
        UserError: there is no such model, or it does not take images of this size.
    """
    shape = (3, *image_size)
    model = create(name, image_size=image_size)
    layout = describe(model, shape)
    found = feature_facts(model, layout, shape)
    return {
        "name": name,
        "description": CATALOG[name].description if name in CATALOG else "",
        "classes": layout.classes,
        "image_shape": list(shape),
        "parameters": parameters(model.wrapped),
        "macs": macs(model.wrapped, shape),
        "features": {feature: place["shape"] for feature, place in found["features"].items()},
        "places": found["features"],
        "roles": found["roles"],
    }
