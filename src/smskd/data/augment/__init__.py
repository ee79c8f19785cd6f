"""Augmentation of uint8 images on the device: crop and flip, and the further views of a batch."""
