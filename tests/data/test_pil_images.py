"""Pillow's images of every mode: the right bytes, or one line."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from smskd.data.decode import image_tensor
from smskd.data.pil_images import as_bytes, displayed_size
from smskd.errors import UserError

RAMP = (np.arange(64).reshape(8, 8) * 1000 + 500).astype(np.uint16)
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
GRAY = COLOURS[:, :, 0]


def reopened(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def result(image, channels=None):
    return np.asarray(as_bytes(image, channels))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000", None])
def test_16_bits_keep_their_upper_eight(kind):
    image = Image.fromarray(RAMP)
    image = image if kind is None else reopened(image, kind, **({"irreversible": False} if kind == "JPEG2000" else {}))
    assert np.array_equal(result(image), RAMP >> 8)
    assert image_tensor(image).shape == (1, 8, 8)
    assert np.array_equal(result(image, 3), np.repeat((RAMP >> 8)[:, :, None], 3, 2))


def test_big_endian_16_bits():
    assert np.array_equal(result(reopened(Image.fromarray(RAMP.astype(">u2")), "TIFF")), RAMP >> 8)


def test_white_is_zero_in_some_tiff():
    image = reopened(Image.fromarray(RAMP), "TIFF", tiffinfo={262: 0})
    assert np.array_equal(result(image), 255 - (RAMP >> 8))


def test_16_bit_colour_is_treated_alike():
    gray = reopened(Image.fromarray(RAMP), "PNG")
    colour = Image.frombytes("RGB", (8, 8), np.repeat(RAMP[:, :, None], 3, 2).astype(">u2").tobytes(), "raw", "RGB;16B")
    assert np.array_equal(result(gray, 3), result(colour))


@pytest.mark.parametrize("kind", ["TIFF", None])
def test_floats_from_0_to_1_are_scaled(kind):
    image = Image.fromarray((RAMP / 65535).astype(np.float32))
    image = image if kind is None else reopened(image, kind)
    assert np.array_equal(result(image), np.rint((RAMP / 65535).astype(np.float32) * 255))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_modes_without_transparency_are_converted_by_pillow(mode):
    image = Image.fromarray(COLOURS).convert(mode)
    assert np.array_equal(result(image), np.asarray(image.convert("L" if mode in ("1", "L") else "RGB")))
    assert np.array_equal(result(image, 1), np.asarray(image.convert("L")))


def over_white(colours, alpha):
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La"])
def test_transparency_is_laid_over_white(mode):
    alpha = np.linspace(0, 255, 30).reshape(6, 5).astype(np.uint8)
    image = Image.fromarray(COLOURS).convert("L" if mode[0] == "L" else "RGB")
    image.putalpha(Image.fromarray(alpha))
    found = result(image.convert(mode), 3)
    expected = over_white(np.asarray(image.convert("RGBA"))[:, :, :3].astype(float), alpha.astype(float))
    # A premultiplied colour has lost its low bits where it is nearly transparent.
    assert np.abs(found - expected).max() <= (1 if mode in ("RGBA", "LA") else 2)
    assert result(image).ndim == (2 if mode[0] == "L" else 3)


def test_opaque_images_with_alpha_keep_their_values():
    image = Image.fromarray(COLOURS).convert("RGBA")
    assert np.array_equal(result(image), COLOURS)
    gray = Image.fromarray(GRAY).convert("LA")
    assert np.array_equal(result(gray), GRAY)


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_becomes_white(mode):
    image = Image.new("RGB", (4, 2), (200, 40, 40))
    image.paste((10, 10, 200), (2, 0, 4, 2))
    image = image.convert(mode)
    colour = image.getpixel((0, 0))
    loaded = reopened(image, "PNG", transparency=colour)
    assert loaded.mode == mode
    assert result(loaded, 3)[0, 0].tolist() == [255, 255, 255]
    expected = np.asarray(image.convert("RGB"))[0, 3]
    assert result(loaded, 3)[0, 3].tolist() == expected.tolist()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("L", (16, 8))
    image.paste(255, (8, 0, 16, 8))
    image.paste(128, (0, 0, 8, 4))
    loaded = reopened(image.convert("RGB"), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(loaded))
    assert displayed_size(loaded) == expected.shape[:2] == ((16, 8) if orientation >= 5 else (8, 16))
    assert np.array_equal(result(loaded), expected)
    assert image_tensor(loaded).shape == (3, *expected.shape[:2])
    assert np.array_equal(result(ImageOps.exif_transpose(loaded)), expected)  # not applied twice


def test_damaged_exif_is_no_orientation():
    image = Image.fromarray(COLOURS)
    image.info["exif"] = b"Exif\x00\x00nonsense"
    assert np.array_equal(result(image), COLOURS)


def two_frames(kind):
    other = Image.fromarray(COLOURS).rotate(180)
    return reopened(Image.fromarray(COLOURS), kind, save_all=True, append_images=[other])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (lambda: Image.fromarray(RAMP.astype(np.int32)), "32-bit integers, whose range is unknown; store 8 or 16 bits"),
        (lambda: reopened(Image.fromarray(RAMP.astype(np.int32)), "TIFF"), "the TIFF image has 32 bits a sample"),
        (lambda: Image.fromarray(RAMP.astype(np.float32)), "floats from 500.0 to 63500.0; they have to be from 0 to 1"),
        (lambda: Image.fromarray(np.full((2, 2), np.nan, np.float32)), "floats from nan to nan; they have to be"),
        (lambda: Image.fromarray(np.full((2, 2), -0.1, np.float32)), "floats from -0.1"),
        (lambda: two_frames("GIF"), "^the image has 2 frames; store the wanted one as an image$"),
        (lambda: two_frames("TIFF"), "^the image has 2 frames"),
        (lambda: two_frames("WEBP"), "^the image has 2 frames"),
        (lambda: Image.new("RGB", (0, 5)), "^the image is 5x0$"),
    ],
)
def test_what_has_no_known_range_or_several_frames_is_refused(image, message):
    with pytest.raises(UserError, match=message) as caught:
        as_bytes(image())
    assert "\n" not in str(caught.value)


def test_12_bits_in_tiff():
    values = RAMP >> 4
    packed = values.reshape(-1, 2).astype(np.uint32)
    joined = (packed[:, 0] << 12) | packed[:, 1]
    content = np.stack([joined >> 16, joined >> 8, joined], 1).astype(np.uint8).tobytes()
    entries = [(256, 8), (257, 8), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, len(content))]
    directory = b"".join(
        tag.to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, value in entries
    )
    header = b"II*\x00" + (8 + len(content)).to_bytes(4, "little")
    file = header + content + len(entries).to_bytes(2, "little") + directory + bytes(4)
    assert np.array_equal(result(Image.open(io.BytesIO(file))), values >> 4)
