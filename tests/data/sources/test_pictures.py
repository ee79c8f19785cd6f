"""Crops of whole encoded pictures, against Pillow and the usual pipeline of torchvision."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from smskd.config.augmentation import AugmentationConfig, RandomResizedCropConfig
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, LoaderConfig, SubsetConfig
from smskd.data import load
from smskd.data.augment.boxes import crop_boxes
from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.pipeline import crop_key
from smskd.data.loaders.make import make_loader
from smskd.data.loading import load as load_data
from smskd.data.sources import pictures
from smskd.data.sources.pictures import Picture
from smskd.errors import UserError

HEIGHT, WIDTH = 75, 100


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Smooth colours with edges."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    image = coarse.resize((width, height), Image.Resampling.BICUBIC)
    image.paste((250, 20, 40), (width // 3, height // 4, width // 2, height // 2))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **({"quality": 90} | options if kind == "JPEG" else options))
    return out.getvalue()


def usual(content: bytes, box: tuple[int, int, int, int], size: tuple[int, int]) -> torch.Tensor:
    """As ``RandomResizedCrop`` of torchvision on a picture of Pillow."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    return F.pil_to_tensor(F.resized_crop(image, *box, list(size), InterpolationMode.BILINEAR))


BOXES = [(0, 0, HEIGHT, WIDTH), (5, 9, 40, 33), (20, 30, 17, 60), (60, 80, 3, 2)]


@pytest.mark.parametrize("box", BOXES)
def test_at_full_scale_pixels_are_those_of_torchvision_but_for_rounding(box: tuple[int, int, int, int]) -> None:
    content = encoded(picture())
    (found,) = Picture(content, "p").crops([box], (48, 48))
    assert found.dtype == torch.uint8
    assert int((found.int() - usual(content, box, (48, 48)).int()).abs().max()) <= 1


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_at_a_reduced_scale_pixels_are_near(reduction: int) -> None:
    """JPEG's own scaling is a mean over squares of pixels; only at edges it differs by more than a few levels."""
    content = encoded(picture(40 * reduction + 3, 50 * reduction + 5))
    box = (2, 3, 40 * reduction, 48 * reduction)
    (found,) = Picture(content, "p").crops([box], (40, 48))
    distance = (found.int() - usual(content, box, (40, 48)).int()).abs()
    assert float(distance.float().mean()) < 1.5
    assert float(distance.float().quantile(0.99)) < 16
    assert not torch.equal(found, usual(content, box, (40, 48)))


def test_a_picture_is_decoded_once_for_boxes_of_one_scale_and_no_crop_depends_on_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole: list[int] = []
    decode = pictures._decoded_jpeg
    monkeypatch.setattr(pictures, "_decoded_jpeg", lambda content: whole.append(1) or decode(content))
    content = encoded(picture(200, 200))
    boxes = [(0, 0, 95, 200), (0, 0, 96, 96), (7, 9, 80, 30)]  # the second one may be reduced
    together = Picture(content, "p").crops(boxes, (48, 48))
    assert whole == [1]
    for place, box in enumerate(boxes):
        assert torch.equal(Picture(content, "p").crops([box], (48, 48))[0], together[place])
    assert whole == [1, 1, 1]


def test_pixels_are_the_same_without_simplejpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(picture())
    expected = Picture(content, "p").crops(BOXES, (48, 48))
    monkeypatch.setattr(pictures, "_decoder", lambda: None)
    assert torch.equal(Picture(content, "p").crops(BOXES, (48, 48)), expected)


@pytest.mark.parametrize(
    ("content", "channels"),
    [
        (encoded(picture(), "PNG"), 3),
        (encoded(picture(mode="L")), 3),
        (encoded(picture(mode="CMYK")), 3),
        (encoded(picture(), exif=Image.Exif()), 3),
        (encoded(picture()), 1),
    ],
    ids=["png", "gray", "cmyk", "exif", "to gray"],
)
def test_every_other_picture_is_decoded_as_a_viewer_displays_it(content: bytes, channels: int) -> None:
    from smskd.data.sources.image_decoding import displayed_image

    (found,) = Picture(content, "p", channels).crops([(5, 9, 40, 33)], (20, 24))
    image = displayed_image(content, "p", channels)
    expected = F.pil_to_tensor(F.resized_crop(image, 5, 9, 40, 33, [20, 24], InterpolationMode.BILINEAR))
    assert int((found.int() - expected.int()).abs().max()) <= 1


def test_a_turned_picture_has_its_displayed_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Picture(encoded(picture(), exif=exif.tobytes()), "p")
    assert turned.size == (WIDTH, HEIGHT)
    assert turned.crops([(0, 0, WIDTH, HEIGHT)], (20, 10)).shape == (1, 3, 20, 10)


@pytest.mark.parametrize("size", [(24, 24), (8, 8)])
def test_a_cut_file_is_told(size: tuple[int, int]) -> None:
    content = encoded(picture())
    with pytest.raises(UserError, match=r"^there: the image cannot be decoded"):
        Picture(content[: len(content) // 2], "there").crops([(0, 0, HEIGHT, WIDTH)], size)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for part, count in (("train", 6), ("val", 2)):
        for name in ("n01440764", "n01443537"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                image = picture(HEIGHT + 3 * number, WIDTH - 4 * number, seed=number + 10 * len(part))
                (folder / part / name / f"{number}.JPEG").write_bytes(encoded(image))
    return folder


CROP = RandomResizedCropConfig()


def config(root: Path, source: str = "imagenet", kind: str = "auto", **options: object) -> DataConfig:
    component = ComponentConfig(source, {"root": str(root), "image_size": [32, 32], **options})
    return DataConfig(
        component,
        SubsetConfig(),
        loader=LoaderConfig(kind=kind),
        augmentation=AugmentationConfig(random_resized_crop=CROP),
    )


def augmentation(consistent: bool = True) -> Augmentation:
    further = AugmentationConfig(random_resized_crop=CROP, consistent=consistent)
    return Augmentation(mean=(0.0,) * 3, std=(1.0,) * 3, padding=0, flip=False, further=further)


@pytest.mark.parametrize("source", ["imagenet", "image_folder"])
def test_batches_are_crops_of_whole_pictures(root: Path, source: str) -> None:
    """The box follows from (seed, epoch, index), whatever the number of workers."""
    train = load_data(config(root, source)).train
    loader = make_loader(train, 5, augmentation(), seed=7)
    files = sorted((root / "train").rglob("*.JPEG"))
    seen = []
    for batch in loader.epoch(3):
        for x, row in zip(batch.x, batch.index.tolist(), strict=True):
            content = files[row].read_bytes()
            size = Image.open(io.BytesIO(content)).size[::-1]
            own = crop_boxes(crop_key(7), 3, torch.tensor([row]), size, CROP.scale, CROP.ratio)
            box = tuple(int(value) for value in (own.top, own.left, own.height, own.width))
            distance = ((255 * x).round().int() - usual(content, box, (32, 32)).int()).abs()
            scale = min(box[2], box[3]) / 32
            assert int(distance.max()) <= 1 if scale < 2 else float(distance.float().mean()) < 2
            seen.append(row)
        assert batch.y.tolist() == [row // 6 for row in batch.index.tolist()]
    assert sorted(seen) == list(range(len(files)))


def test_workers_and_further_views(root: Path) -> None:
    train = load_data(config(root)).train
    alone = make_loader(train, 5, augmentation(consistent=False), seed=7)
    workers = make_loader(train, 5, augmentation(consistent=False), seed=7, config=LoaderConfig(workers=1))
    views = frozenset({"strong"})
    for one, other in zip(alone.epoch(2, views=views), workers.epoch(2, views=views), strict=True):
        assert torch.equal(one.x, other.x)
        assert set(one.views) == {"strong", "teacher"}
        for name in one.views:
            assert torch.equal(one.views[name], other.views[name])
            assert not torch.equal(one.views[name], one.x)
    again = make_loader(train, 5, augmentation(), seed=7)
    assert torch.equal(next(iter(again.epoch(2))).x, next(iter(alone.epoch(2))).x)
    assert not torch.equal(next(iter(again.epoch(3))).x, next(iter(again.epoch(2))).x)


def test_the_identity_tells_whole_pictures(root: Path) -> None:
    whole = make_loader(load_data(config(root)).train, 5, augmentation())
    assert whole.crops_whole_pictures
    held = load("image_folder", root=root, image_size=(32, 32)).train
    plain = make_loader(held, 5, augmentation(), config=LoaderConfig(kind="streaming"))
    assert not plain.crops_whole_pictures
    assert whole.augmentation_space.variants is None


def test_pictures_that_are_held_cannot_be_cropped_whole(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"^data\.source\.streaming: false: random_resized_crop is one of whole pictures"
    ):
        load_data(config(root, streaming=False))
    with pytest.raises(UserError, match=r"^data\.loader\.kind: memory: random_resized_crop is one of whole pictures"):
        load_data(config(root, "image_folder", kind="memory"))
