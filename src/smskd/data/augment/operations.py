"""Distortions of uint8 images by a strength for each image, a whole batch at once, on any device.

They compute what PIL computes, which published augmentation policies are defined by; the tensor operations of
torchvision take one strength for a whole batch.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from smskd.data.transfer import to_device

Apply = Callable[[Tensor, Tensor], Tensor]
"""A distortion of images, uint8 [n, channels, height, width], by their strengths, float32 [n]."""


def blended(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Interpolates from a degenerate image (factor 0) to the image itself (factor 1), as PIL's ImageEnhance."""
    degenerate = degenerate.float()
    return (degenerate + each(factor) * (images.float() - degenerate)).clamp(0, 255).to(torch.uint8)


def gray(images: Tensor) -> Tensor:
    """[n, 1, height, width] brightness, rounded as PIL does (ITU-R 601-2, in 16 bits)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = torch.split(images.int(), 1, dim=1)
    return (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    return blended(torch.zeros_like(images), images, factor)


def color(images: Tensor, factor: Tensor) -> Tensor:
    return blended(gray(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    return blended(gray(images).float().mean((1, 2, 3), keepdim=True).add(0.5).floor(), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    return blended(F.adjust_sharpness(images, 0.0), images, factor)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the given number of upper bits of each value."""
    unit = 2 ** (8 - each(bits).long())
    return (images // unit * unit).to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts the values at or above the threshold."""
    return torch.where(images >= each(threshold), 255 - images, images)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotates the image counterclockwise about its centre."""
    height, width = images.shape[2:]
    radians = degrees.deg2rad()
    cos, sin = radians.cos(), radians.sin()
    x, y = width / 2, height / 2
    return moved(images, cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


def moved(
    images: Tensor,
    xx: Tensor | float = 1.0,
    xy: Tensor | float = 0.0,
    x0: Tensor | float = 0.0,
    yx: Tensor | float = 0.0,
    yy: Tensor | float = 1.0,
    y0: Tensor | float = 0.0,
) -> Tensor:
    """The pixel at (x, y) becomes the one at (xx x + xy y + x0, yx x + yy y + y0), black outside of the image.

    The coefficients and their order are those of PIL's affine transform.
    """
    coefficients = (xx, xy, x0, yx, yy, y0)
    xx, xy, x0, yx, yy, y0 = (c.view(-1, 1, 1) if isinstance(c, Tensor) else c for c in coefficients)
    height, width = images.shape[2:]
    x = (torch.arange(width, device=images.device) + 0.5).view(1, 1, width)
    y = (torch.arange(height, device=images.device) + 0.5).view(1, height, 1)
    column, row = (xx * x + xy * y + x0).floor().long(), (yx * x + yy * y + y0).floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = torch.where(inside, row * width + column, 0).flatten(1).unsqueeze(1)
    found = images.flatten(2).gather(2, place.expand(-1, images.shape[1], -1)).view(images.shape)
    return found * inside.unsqueeze(1)


def each(value: Tensor) -> Tensor:
    """One number per image, to be broadcast over its pixels."""
    return value.view(-1, 1, 1, 1)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turns the hue of RGB images by a share of the colour circle, as ``adjust_hue`` of torchvision."""
    rgb = images.float() / 255
    value, low = rgb.amax(dim=1), rgb.amin(dim=1)
    chroma = value - low
    red, green, blue = rgb.unbind(dim=1)
    divisor = torch.where(chroma > 0, chroma, 1.0)
    sixth = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    turned = sixth + 6 * shift.view(-1, 1, 1)
    channels = []
    for start in (5, 3, 1):
        k = (turned + start).remainder(6)
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return (torch.stack(channels, dim=1) * 255).round().clamp(0, 255).to(torch.uint8)


APPLY: Mapping[str, Apply] = {
    "autocontrast": lambda images, _: F.autocontrast(images),
    "brightness": brightness,
    "color": color,
    "contrast": contrast,
    "equalize": lambda images, _: F.equalize(images),
    "hue": hue,
    "identity": lambda images, _: images,
    "invert": lambda images, _: 255 - images,
    "posterize": posterize,
    "rotate": rotate,
    "sharpness": sharpness,
    "shear_x": lambda images, share: moved(images, xy=share),
    "shear_y": lambda images, share: moved(images, yx=share),
    "shift_x": lambda images, pixels: moved(images, x0=pixels),
    "shift_y": lambda images, pixels: moved(images, y0=pixels),
    "solarize": solarize,
    "translate_x": lambda images, share: moved(images, x0=share * images.shape[3]),
    "translate_y": lambda images, share: moved(images, y0=share * images.shape[2]),
}
"""Distortions by name. Translations are shares of the width or height, shifts pixels, rotations degrees
counterclockwise."""


def distorted(images: Tensor, operations: Sequence[Apply], choice: Tensor, strength: Tensor) -> Tensor:
    """Each image after the operation chosen for it; the images of an operation are processed at once.

    Args:
        images: uint8 [N, channels, height, width].
        operations: to choose from.
        choice: [N] int64 places among the operations, on the CPU, so that nothing waits for the device.
        strength: [N] float64, on the CPU.
    """
    order = choice.argsort(stable=True)
    counts = choice.bincount(minlength=len(operations)).tolist()
    place = to_device(order, images.device)
    strengths = to_device(strength[order].float(), images.device)
    groups = zip(operations, torch.split(images[place], counts), torch.split(strengths, counts), strict=True)
    changed = [operation(group, own) for operation, group, own in groups if len(group)]
    result = torch.empty_like(images)
    result[place] = torch.cat(changed)
    return result
