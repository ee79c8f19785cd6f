"""Measures the images per second of a loader with each augmentation: random images, nothing is trained.

On a CPU they are those of one core, by the time that it works for this process, whatever else the machine does.
"""

import argparse
import time

import torch

from smskd import AugmentationConfig
from smskd.config.augmentation import (
    ColorJitterConfig,
    PolicyConfig,
    RandomErasingConfig,
    RandomResizedCropConfig,
)
from smskd.data import Augmentation, Images, MemoryLoader

CASES = {
    "crop and flip": AugmentationConfig(),
    "random_resized_crop": AugmentationConfig(random_resized_crop=RandomResizedCropConfig()),
    "rotation: 20": AugmentationConfig(rotation=20),
    "policy: trivial_augment": AugmentationConfig(policy=PolicyConfig("trivial_augment")),
    "policy: rand_augment": AugmentationConfig(policy=PolicyConfig("rand_augment")),
    "policy: auto_augment": AugmentationConfig(policy=PolicyConfig("auto_augment")),
    "color_jitter, all four": AugmentationConfig(color_jitter=ColorJitterConfig(0.4, 0.4, 0.4, 0.1)),
    "random_erasing": AugmentationConfig(random_erasing=RandomErasingConfig()),
    "mixup": AugmentationConfig(mixup=0.2),
    "cutmix": AugmentationConfig(cutmix=1.0),
    "repeats: 3": AugmentationConfig(repeats=3),
    "consistent: false": AugmentationConfig(consistent=False),
}


def images_per_second(config: AugmentationConfig, images: Images, batch_size: int, device: str, rounds: int) -> float:
    """The best of some epochs."""
    crops = config.random_resized_crop is not None
    augmentation = Augmentation(mean=(0.5,) * 3, std=(0.25,) * 3, padding=0 if crops else 4, further=config)
    loader = MemoryLoader(images, batch_size, augmentation, device=device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    best = 0.0
    for epoch in range(rounds + 1):  # the first one is not counted
        _synchronise(device)
        started = clock()
        for batch in loader.epoch(epoch):
            assert len(batch.x)
        _synchronise(device)
        if epoch:
            best = max(best, len(images) / (clock() - started))
    return best


def _synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    shape = (options.images, 3, options.size, options.size)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.arange(options.images) % 100, tuple(map(str, range(100))))
    print(f"{options.device}, batches of {options.batch_size}, {options.size}x{options.size}, images per second:")
    for name, config in CASES.items():
        speed = images_per_second(config, images, options.batch_size, options.device, options.rounds)
        print(f"| {name} | {speed:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
