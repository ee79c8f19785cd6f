"""The features that a network's own library knows."""

from torch import Tensor, nn

from smskd.interfaces.features import FeatureModel
from smskd.models.feature_discovery import Found


def native(module: nn.Module, example: Tensor) -> FeatureModel | Found | None:
    """The features that a network's own library knows, or where to read them.

    Args:
        module: any network. The library is recognised by its class or a base of it.
        example: images [N, channels, height, width], for their shape.

    Returns:
        None where no library knows the network.

    Raises:
        UserError: the network does not accept such images.
    """
    packages = {base.__module__.partition(".")[0] for base in type(module).__mro__}
    if "timm" in packages:
        from smskd.models.libraries.timm_model import timm_model

        return timm_model(module, example)
    if "transformers" in packages:
        from smskd.models.libraries.transformers_features import transformers_features

        return transformers_features(module, example)
    if "torchvision" in packages:
        from smskd.models.libraries.torchvision_features import torchvision_features

        return torchvision_features(module, example)
    return None
