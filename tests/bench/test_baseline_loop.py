"""The baseline loop trains as smskd does: with the same weights and images, both have the same losses and steps."""

import math
import multiprocessing
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from smskd.bench import step as step_file
from smskd.bench.baseline_data import ImageBatch, ImageDataset
from smskd.bench.baseline_loop import BaselineLoop
from smskd.bench.baseline_turns import BaselineTurns, baseline_dataset, baseline_options
from smskd.bench.case import Case, random_dataset
from smskd.bench.step import TimedLoop
from smskd.interfaces.batch import Batch
from smskd.ops.contrast_memory import ContrastMemory

CASE = Case("resnet14", "resnet8_w4", "kd", batch_size=8, steps=3, data_size=40, classes=5, image_size=12, device="cpu")
METHODS = ("kd", "fitnet", "crd")
FEW = 6
"""Negatives of CRD."""


class Pair:
    """Both loops on the same weights, and a batch of random images."""

    def __init__(self, method: str, stage: int) -> None:
        case = replace(CASE, method=method, stage=stage)
        dataset = random_dataset(case)
        self.ours = TimedLoop(step_file.built(case, dataset))
        options = baseline_options(self.ours.config, self.ours.state.objective)
        data = baseline_dataset(case, dataset)
        assert data is not None
        self.baseline = BaselineTurns(options, data).loop
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(8, 3, 12, 12, generator=generator)
        y = torch.randint(5, (8,), generator=generator)
        self.index = torch.arange(3, 11)
        self.contrast = torch.cat([self.index[:, None], torch.randint(40, (8, FEW), generator=generator)], dim=1)
        self.batch = Batch(x, y, self.index)
        self.baseline_batch = ImageBatch(x, y, self.index, self.contrast)
        self._share_modules(method)

    def _share_modules(self, method: str) -> None:
        state = self.ours.state.objective.term_states[0]
        if method == "fitnet":
            ours = state.get_submodule("regressor")
            self.baseline.criterion.load_state_dict(ours.state_dict())
        if method == "crd":
            assert isinstance(state, ContrastMemory)
            state.negatives.draw = lambda index: self.contrast  # type: ignore[method-assign]
            criterion = self.baseline.criterion
            for side in ("student", "teacher"):
                getattr(criterion, f"embed_{side}").linear.load_state_dict(getattr(state, f"embed_{side}").state_dict())
                getattr(criterion, f"memory_{side}").copy_(getattr(state, f"memory_{side}"))

    def losses(self) -> tuple[float, float]:
        """Of a step of each."""
        self.ours.state.objective.train()
        self.baseline.student.train()
        self.baseline.criterion.train()
        return float(self.ours.step(self.batch).total.detach()), self.baseline.step(self.baseline_batch)


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_both_loops_have_the_same_losses_over_several_steps(method: str, stage: int) -> None:
    pair = Pair(method, stage)
    if stage == 2:  # so that the student is not the reference itself
        with torch.no_grad():
            for student in (pair.ours.state.student, pair.baseline.student):
                student.fc.weight *= 1.5
    for _ in range(3):
        ours, theirs = pair.losses()
        assert ours == pytest.approx(theirs, rel=2e-4)
    assert math.isfinite(ours)
    weights = pair.ours.state.student.state_dict()
    for name, tensor in pair.baseline.student.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_the_reference_counts_in_the_second_stage() -> None:
    pair = Pair("kd", 2)
    assert pair.baseline.reference is not None
    ours, theirs = pair.losses()
    pair.baseline.reference = None
    with torch.no_grad():
        pair.baseline.student.fc.weight *= 2
    one = pair.baseline.loss(pair.baseline_batch)[0].item()
    pair.baseline.reference = pair.baseline.teacher
    assert pair.baseline.loss(pair.baseline_batch)[0].item() > one
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_images_are_cropped_flipped_and_normalized_one_at_a_time() -> None:
    dataset = random_dataset(CASE)
    data = baseline_dataset(CASE, dataset)
    assert data is not None
    sample = data[7]
    assert sample.x.shape == (3, 12, 12)
    assert (int(sample.y), int(sample.sample), len(sample.contrast)) == (int(dataset.train.labels[7]), 7, 0)
    untouched = baseline_dataset(CASE, replace(dataset, padding=0, flip=False))
    assert untouched is not None
    ours = dataset.normalisation().apply(dataset.train.pixels[7:8])
    torch.testing.assert_close(untouched[7].x, ours[0])


def test_negatives_are_distinct_samples_of_other_classes() -> None:
    dataset = random_dataset(CASE)
    data = ImageDataset(
        dataset.train.pixels.permute(0, 2, 3, 1).numpy(), dataset.train.labels.numpy(), lambda image: image, FEW
    )
    labels = dataset.train.labels
    for index in range(40):
        contrast = data[index].contrast
        assert contrast[0] == index
        assert len(contrast) == len(set(contrast.tolist())) == 1 + FEW
        assert (labels[contrast[1:]] != labels[index]).all()


def test_negatives_repeat_where_there_are_too_few_samples() -> None:
    images = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    data = ImageDataset(images, np.array([0, 0, 1, 1]), lambda image: image, 5)
    assert set(data[0].contrast[1:].tolist()) <= {2, 3}
    assert len(data[0].contrast) == 6


def test_a_spawned_worker_process_can_load_the_data_set() -> None:
    """As on macOS and Windows, where workers are not forked."""
    code = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer)[3].x))"
    data = pickle.dumps(baseline_dataset(CASE, random_dataset(CASE)))
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, b"3"), done.stderr.decode()


def test_workers_end_when_the_batches_are_closed() -> None:
    pair = Pair("kd", 1)
    data = baseline_dataset(CASE, random_dataset(CASE))
    assert data is not None
    loop = BaselineLoop(pair.baseline.student, pair.baseline.teacher, "kd", data, batch_size=8, workers=1)
    batches = loop.batches()
    assert next(batches).x.shape == (8, 3, 12, 12)
    assert multiprocessing.active_children()
    batches.close()
    assert not multiprocessing.active_children()
