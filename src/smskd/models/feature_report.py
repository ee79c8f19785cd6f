"""What a model offers to read, in words and numbers: for `smskd models`, and for the start and the summary of a run."""

from typing import Any

from smskd.interfaces.features import FeatureLayout, FeatureModel, Shape
from smskd.interfaces.inputs import InputForm

_KINDS = {1: "vector", 2: "tokens", 3: "map"}


def feature_facts(model: FeatureModel, layout: FeatureLayout, form: InputForm) -> dict[str, Any]:
    """The features of a model, as JSON has them.

    Args:
        model: the model.
        layout: of the model, for images of this shape.
        form: (channels, height, width) of images, or an example of several tensors by name.

    Returns:
        ``features``: by name ``shape``, ``kind`` (map, tokens or vector), ``stride`` (rows and columns of the image for
        one of a map; None for others) and ``module``, at which it is read, as far as it is known. ``roles``: the
        features by their role.
    """
    return {
        "features": {
            name: {
                "shape": list(shape),
                "kind": _KINDS.get(len(shape), "tensor"),
                "stride": _stride(shape, form),
                "module": model.sources.get(name),
            }
            for name, shape in layout.features.items()
        },
        "roles": role_names(layout),
    }


def role_names(layout: FeatureLayout) -> dict[str, Any]:
    """The names of the features by their role: ``stem``, ``stages``, ``last_map``, ``pooled``, and any ``layers``."""
    vectors = [name for name, shape in layout.features.items() if len(shape) == 1]
    known = layout.roles
    layers = {"layers": list(layout.layers)} if layout.layers else {}
    return {
        "stem": layout.stem,
        "stages": list(layout.stages),
        "last_map": layout.last_map if layout.stages or (known and known.last_map) else None,
        "pooled": known.pooled if known is not None else vectors[-1] if vectors else None,
        **layers,
    }


def stage_line(model: FeatureModel, layout: FeatureLayout) -> str:
    """One line on the stages and where they are read: ``stage1 (layer1, 64x16x16), ...``."""
    return ", ".join(_place(model, name, layout.features[name]) for name in layout.stages) or "no feature maps"


def layer_line(model: FeatureModel, layout: FeatureLayout) -> str:
    """One line on the layers of hidden states and where they are read."""
    return ", ".join(_place(model, name, layout.features[name]) for name in layout.layers) or "no hidden states"


def _place(model: FeatureModel, name: str, shape: Shape) -> str:
    module = model.sources.get(name)
    return f"{name} ({f'{module}, ' if module else ''}{'x'.join(map(str, shape))})"


def _stride(shape: Shape, form: InputForm) -> list[float] | None:
    if len(shape) != 3 or not isinstance(form, tuple):
        return None
    return [round(image / own, 2) for image, own in zip(form[1:], shape[1:], strict=True)]
