"""The names of networks of other libraries, in a file that imports none of them."""

from smskd.errors import UserError

PREFIXES = ("timm", "torchvision", "transformers")
"""The libraries, and the extras of smskd that install them."""


def library_of(name: str) -> str | None:
    """The library in front of a network's name, as in ``timm/resnet18``; None where there is none."""
    prefix, slash, _ = name.partition("/")
    return prefix if slash and prefix in PREFIXES else None


def own_name(name: str) -> str:
    """The name by which the library itself knows the network.

    Raises:
        UserError: there is none behind the slash.
    """
    library, _, own = name.partition("/")
    if not own:
        raise UserError(f"model '{name}': the name of a network of {library} is missing behind the slash")
    return own
