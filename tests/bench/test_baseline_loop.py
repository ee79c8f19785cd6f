"""The loop that is compared with is a real one: on the same weights and pictures, its losses and steps are ours."""

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
from smskd.bench.baseline_process import UsualLoop, plain, plain_data, usual_options
from smskd.bench.case import Case, random_pictures
from smskd.bench.step import OurLoop
from smskd.interfaces.batch import Batch
from smskd.ops.contrast_memory import ContrastMemory

CASE = Case("resnet14", "resnet8_w4", "kd", batch_size=8, steps=3, data_size=40, classes=5, image_size=12, device="cpu")
METHODS = ("kd", "fitnet", "crd")
FEW = 6
"""Negatives of CRD."""


class Pair:
    """Both loops on the same weights, and a batch of random pictures."""

    def __init__(self, method: str, stage: int) -> None:
        case = replace(CASE, method=method, stage=stage)
        pictures = random_pictures(case)
        self.ours = OurLoop(step_file.assembled(case, pictures))
        options = usual_options(self.ours.setup, self.ours.trainee.objective)
        usual = UsualLoop(options, plain_data(case, pictures))
        self.usual = usual.loop
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(8, 3, 12, 12, generator=generator)
        y = torch.randint(5, (8,), generator=generator)
        self.index = torch.arange(3, 11)
        self.contrast = torch.cat([self.index[:, None], torch.randint(40, (8, FEW), generator=generator)], dim=1)
        self.batch = Batch(x, y, self.index)
        self.plain_batch = plain().PictureBatch(x, y, self.index, self.contrast)
        self._share_modules(method)

    def _share_modules(self, method: str) -> None:
        (state,) = self.ours.trainee.objective.states
        if method == "fitnet":
            ours = state.get_submodule("regressor")
            self.usual.criterion.load_state_dict(ours.state_dict())
        if method == "crd":
            assert isinstance(state, ContrastMemory)
            state.negatives.draw = lambda index: self.contrast  # type: ignore[method-assign]
            criterion = self.usual.criterion
            for side in ("student", "teacher"):
                getattr(criterion, f"embed_{side}").linear.load_state_dict(getattr(state, f"embed_{side}").state_dict())
                getattr(criterion, f"memory_{side}").copy_(getattr(state, f"memory_{side}"))

    def losses(self) -> tuple[float, float]:
        """Of a step of each."""
        self.ours.trainee.objective.train()
        self.usual.student.train()
        self.usual.criterion.train()
        return float(self.ours.step(self.batch).total.detach()), self.usual.step(self.plain_batch)


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_both_loops_have_the_same_losses_over_several_steps(method: str, stage: int) -> None:
    pair = Pair(method, stage)
    if stage == 2:  # so that the student is not the reference itself
        with torch.no_grad():
            for student in (pair.ours.trainee.student, pair.usual.student):
                student.fc.weight *= 1.5
    for _ in range(3):
        ours, theirs = pair.losses()
        assert ours == pytest.approx(theirs, rel=2e-4)
    assert math.isfinite(ours)
    weights = pair.ours.trainee.student.state_dict()
    for name, tensor in pair.usual.student.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_the_reference_counts_in_the_second_stage() -> None:
    pair = Pair("kd", 2)
    assert pair.usual.reference is not None
    ours, theirs = pair.losses()
    pair.usual.reference = None
    with torch.no_grad():
        pair.usual.student.fc.weight *= 2
    one = pair.usual.loss(pair.plain_batch)[0].item()
    pair.usual.reference = pair.usual.teacher
    assert pair.usual.loss(pair.plain_batch)[0].item() > one
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_pictures_come_one_at_a_time_cut_flipped_and_normalised() -> None:
    pictures = random_pictures(CASE)
    data = plain_data(CASE, pictures)
    assert data is not None
    sample = data[7]
    assert sample.x.shape == (3, 12, 12)
    assert (int(sample.y), int(sample.sample), len(sample.contrast)) == (int(pictures.train.labels[7]), 7, 0)
    untouched = plain_data(CASE, replace(pictures, padding=0, flip=False))
    assert untouched is not None
    ours = pictures.normalisation().apply(pictures.train.images[7:8])
    torch.testing.assert_close(untouched[7].x, ours[0])


def test_negatives_are_of_other_classes_and_come_once() -> None:
    pictures = random_pictures(CASE)
    loop = plain()
    data = loop.PictureData(
        pictures.train.images.permute(0, 2, 3, 1).numpy(), pictures.train.labels.numpy(), lambda image: image, FEW
    )
    labels = pictures.train.labels
    for index in range(40):
        contrast = data[index].contrast
        assert contrast[0] == index
        assert len(contrast) == len(set(contrast.tolist())) == 1 + FEW
        assert (labels[contrast[1:]] != labels[index]).all()


def test_with_too_few_other_samples_negatives_come_again() -> None:
    loop = plain()
    images = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    data = loop.PictureData(images, np.array([0, 0, 1, 1]), lambda image: image, 5)
    assert set(data[0].contrast[1:].tolist()) <= {2, 3}
    assert len(data[0].contrast) == 6


def test_a_worker_process_that_imports_everything_anew_finds_the_data_set() -> None:
    """As on macOS and Windows, where workers are not forked."""
    code = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer)[3].x))"
    data = pickle.dumps(plain_data(CASE, random_pictures(CASE)))
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, b"3"), done.stderr.decode()


def test_workers_end_with_the_loop_that_is_left() -> None:
    pair = Pair("kd", 1)
    data = plain_data(CASE, random_pictures(CASE))
    loop = plain().PlainLoop(pair.usual.student, pair.usual.teacher, "kd", data, batch_size=8, workers=1)
    batches = loop.batches()
    assert next(batches).x.shape == (8, 3, 12, 12)
    assert multiprocessing.active_children()
    batches.close()
    assert not multiprocessing.active_children()
