"""One model in full, for images of any size."""

from typing import Any

from smskd.interfaces.inputs import InputForm, blank_tokens
from smskd.models import describe, macs, parameters
from smskd.models.creation import create_with
from smskd.models.feature_report import feature_facts
from smskd.models.libraries.making import reads_texts
from smskd.models.zoo.catalog import CATALOG

TOKENS = 32
"""Of a text for which a network of texts is shown."""

FIELDS = ("input_ids", "attention_mask")


def model_facts(name: str, image_size: tuple[int, int]) -> dict[str, Any]:
    """Parameters, multiply-accumulates and features of a model.

    Args:
        name: as for :func:`smskd.models.create`.
        image_size: height and width.

    Raises:
        UserError: there is no such model, or it does not take images of this size.
    """
    example = blank_tokens(FIELDS, TOKENS) if reads_texts(name) else None
    shape = (3, *image_size)
    form: InputForm = shape if example is None else example
    model = create_with(name, {}, classes=100, channels=3, image_size=image_size, example=example)
    layout = describe(model, form)
    found = feature_facts(model, layout, form)
    return {
        "name": name,
        "description": CATALOG[name].description if name in CATALOG else "",
        "classes": layout.classes,
        "image_shape": list(shape) if example is None else None,
        "tokens": None if example is None else TOKENS,
        "parameters": parameters(model.wrapped),
        "macs": macs(model.wrapped, form),
        "features": {feature: place["shape"] for feature, place in found["features"].items()},
        "places": found["features"],
        "roles": found["roles"],
    }
