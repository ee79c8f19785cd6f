"""Runs on texts: through the same engine, with everything that it promises for images."""

from pathlib import Path

import pytest
import torch

from smskd import distill
from smskd.build import Provided, build
from smskd.config.cache import CacheConfig
from smskd.config.given import given
from smskd.config.models import TeacherConfig
from smskd.config.optimization import OptimizerConfig
from smskd.config.stage import StageConfig
from smskd.data.texts import Field
from smskd.errors import UserError
from smskd.models.metadata import facts
from smskd.registry import ANCHORS
from smskd.runs.folder import RunFolder
from smskd.strategies.resolve import resolve
from smskd.training.config import RunConfig
from smskd.training.globals import preserved_globals
from tests.support import texts, tiny

TWO = (StageConfig(methods=("fitnet",), ends_after=1), StageConfig(methods=("kd",)))
SLOW = OptimizerConfig(learning_rate=0.01)


def built(stages=TWO, **further) -> RunConfig:
    wanted = texts.recipe(stages, **{"optimizer": SLOW, **further})
    with preserved_globals():
        provided = Provided(texts.network("student"), texts.network("teacher", seed=2), texts.dataset())
        return build(resolve(wanted), provided)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two stages."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.trained(built(), folder)
    return folder


def test_two_stages_are_trained_and_the_summary_has_their_facts(whole):
    found = tiny.summary(whole)
    assert [stage["methods"] for stage in found["stages"]] == [["fitnet"], ["kd"]]
    assert found["data"]["tokens"] == texts.dataset().train.most()
    assert found["student"]["features"]["layers"] == ["block1", "block2"]
    assert found["student"]["macs"] > 0
    assert all(value is not None for value in found["student"]["latency_milliseconds"].values())
    losses = [line["losses"] for line in tiny.metrics(whole)]
    assert losses[0].keys() == {"total", "ce", "fitnet"}
    assert losses[1].keys() == {"total", "ce", "kd", "anchor"}


def test_a_run_that_is_stopped_ends_as_if_it_had_not_been(whole, tmp_path):
    reports = tiny.epochs_of(built(), tmp_path)
    next(reports)
    reports.close()
    assert len(tiny.metrics(tmp_path)) == 1
    tiny.trained(built(), tmp_path)
    assert tiny.outcome(tmp_path) == tiny.outcome(whole)


def test_the_teachers_cache_gives_the_same_whatever_it_held(tmp_path):
    cache = CacheConfig("disk", folder=str(tmp_path / "cache"))
    teacher = TeacherConfig(given(texts.dataset()), cache=cache)
    stages = (StageConfig(methods=("rkd", "kd")),)
    outcomes, hits = [], []
    for name in ("first", "second"):
        made = built(stages, teacher=teacher, runtime={"seed": 0})
        hits.append([report.cache_hits for report in tiny.trained(made, tmp_path / name)])
        outcomes.append(tiny.outcome(tmp_path / name)["weights"])
    assert hits[0][0] == 0.0
    assert hits[0][1] > 0.5
    assert hits[1] == [1.0, 1.0]
    assert outcomes[0] == outcomes[1]


def test_a_note_says_that_texts_are_not_compiled(whole, tmp_path):
    tiny.trained(built(runtime={"compile": "on"}), tmp_path)
    note = "Networks are not compiled for texts, whose lengths differ from batch to batch."
    assert tiny.summary(tmp_path)["notes"].count(note) == 1
    assert note not in tiny.summary(whole)["notes"]
    assert tiny.outcome(tmp_path)["weights"] == tiny.outcome(whole)["weights"]


@pytest.mark.parametrize("anchor", ["ewc", "l2_sp", "toward_reference"])
def test_every_anchor_takes_texts(anchor, tmp_path):
    options = {"method": "at"} if anchor == "toward_reference" else {}
    reports = tiny.trained(built(anchor=ANCHORS.find(anchor)(**options)), tmp_path)
    assert any(name.startswith("anchor") for name in reports[1].losses)


def test_a_method_that_takes_no_texts_is_refused_before_training(tmp_path):
    with pytest.raises(UserError, match="ab: AB compares feature maps, and a network that reads texts has none"):
        tiny.trained(built((StageConfig(methods=("ab",)),)), tmp_path)
    with pytest.raises(UserError, match="there is no view 'strong' of texts"):
        tiny.trained(built((StageConfig(methods=("mlkd",)),)), tmp_path)
    assert not RunFolder(tmp_path).has_metrics


def test_a_number_that_is_none_is_blamed_on_its_sample(tmp_path):
    train = texts.dataset().train
    scores = torch.zeros(len(train))
    scores[7] = torch.nan
    fields = {**train.fields, "score": Field(scores, torch.arange(len(train) + 1), None)}
    samples = type(train)(fields, train.labels, train.class_names)

    class Scored(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = torch.nn.Embedding(50, 8), torch.nn.Linear(8, 2)

        def forward(self, input_ids, attention_mask, score):
            hidden = self.embed(input_ids) * attention_mask[:, :, None] + score[:, None]
            return self.head(hidden.mean(dim=1))

    with pytest.raises(UserError, match="the score of training sample 7 holds NaN"):
        distill(
            student=Scored(),
            teacher=None,
            train=samples,
            test=samples,
            stages=[[]],
            epochs=1,
            batch_size=8,
            device="cpu",
        )


class Tokenised(torch.utils.data.Dataset):
    """A data set of a user: tensors by name of different lengths, and a label."""

    classes = ["bad", "good"]  # noqa: RUF012

    def __init__(self, count: int = 24) -> None:
        self.rows = [texts.dataset().train[row] for row in range(count)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row):
        tensors, label = self.rows[row]
        return {"input_ids": tensors["input_ids"].tolist(), "label": label, "text": "left out"}


def test_distill_takes_a_data_set_of_tensors_by_name():
    student = texts.network("student").wrapped
    found = distill(
        student=student,
        teacher=texts.network("teacher").wrapped,
        train=Tokenised(),
        test=Tokenised(12),
        stages=["fitnet", "kd"],
        epochs=2,
        batch_size=8,
        device="cpu",
    )
    assert found.student is student
    assert found.summary["data"]["classes"] == 2
    assert facts(student).class_names == ("bad", "good")
    assert facts(student).fields == ("attention_mask", "input_ids")


def test_mistakes_of_such_a_data_set_are_told_in_a_line():
    def run(train, test=None, **further):
        distill(
            student=texts.network("student").wrapped,
            teacher=None,
            train=train,
            test=test or train,
            stages=[[]],
            epochs=1,
            device="cpu",
            **further,
        )

    whole = Tokenised()
    with pytest.raises(UserError, match="training sample 0 has to have exactly one of label"):
        run([{"input_ids": [1, 2]}])
    with pytest.raises(UserError, match="training sample 1 has input_ids, mask, and sample 0 has input_ids"):
        run([({"input_ids": [1, 2]}, 0), ({"input_ids": [1], "mask": [1]}, 0)])
    with pytest.raises(UserError, match="training samples: row 1 has label 5; with 2 classes"):
        run([({"input_ids": [1, 2]}, 0), ({"input_ids": [1, 2]}, 5)])
    with pytest.raises(UserError, match=r"student: the model does not accept inputs of .*index out of range"):
        run([({"input_ids": [1, 2]}, 0), ({"input_ids": [1, 9999]}, 1)])
    with pytest.raises(UserError, match="test: training samples are tensors by name, and these are not"):
        run(whole, [(torch.zeros(3, 8, 8), 0)])
