"""Each network gets the ids of its own tokenizer, or is refused in a line."""

from dataclasses import replace

import pytest
import torch

from smskd.build import Provided, build
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.config.stage import StageConfig
from smskd.data import load
from smskd.errors import UserError
from smskd.models.metadata import Facts, facts, set_facts
from smskd.strategies.resolve import resolve
from smskd.training.globals import preserved_globals
from tests.support import texts, tiny

KD = (StageConfig(methods=("kd",)),)


def built(methods="kd", teacher=None, student=None, **source):
    wanted = texts.recipe((StageConfig(methods=(methods,)),), epochs=1, source=texts.source(**source))
    with preserved_globals():
        dataset = load(wanted.data)
        provided = Provided(student or texts.network("student"), teacher, dataset)
        return build(resolve(wanted), provided)


def teacher(tokenizer: str | None = None):
    found = texts.network("other").wrapped
    set_facts(found, Facts(classes=2, tokenizer=tokenizer))
    return found


def test_a_teacher_with_another_tokenizer_is_given_its_own_ids(tmp_path):
    made = built(teacher=teacher(), teacher_tokenizer=str(texts.folder() / "other"))
    frozen = made.teachers[0]
    batch = next(made.loaders[0].epoch(1))
    own = {name.removeprefix("teacher."): value for name, value in batch.x.items() if name.startswith("teacher.")}
    expected = teacher().eval()(**own).logits
    assert torch.allclose(frozen(batch.x), expected, atol=1e-5)
    assert len(tiny.trained(made, tmp_path)) == 1


def test_its_hidden_states_cannot_be_compared(tmp_path):
    made = built("fitnet", teacher=teacher(), teacher_tokenizer=str(texts.folder() / "other"))
    with pytest.raises(
        UserError, match="FitNet compares hidden states token by token, and the teacher has none of the"
    ):
        tiny.trained(made, tmp_path)


def test_it_is_refused_where_its_tokenizer_is_not_given():
    with pytest.raises(UserError, match=r"teacher: it has learned from .*data\.source\.teacher_tokenizer"):
        built(teacher=teacher("of another tokenizer"))


def test_a_student_that_has_learned_from_other_ids_is_refused():
    student = texts.network("student")
    set_facts(student, Facts(classes=2, tokenizer="of another tokenizer"))
    with pytest.raises(UserError, match=r"student: its weights have learned from .*set data\.source\.tokenizer"):
        built(student=student, teacher=texts.network("teacher").wrapped)


def test_networks_that_do_not_fit_are_refused_in_a_line():
    def make(name, **source):
        wanted = texts.recipe((StageConfig(methods=()),), epochs=1, source=texts.source(**source))
        with preserved_globals():
            build(resolve(replace(wanted, student=ModelConfig(name), teacher=None)))

    with pytest.raises(UserError, match="student: model 'resnet8' takes images, and the data are texts"):
        make("resnet8")
    short = texts.write_network(texts.folder() / "short", 1, 8, max_position_embeddings=8)
    with pytest.raises(
        UserError, match=r"takes at most 8 tokens, and the data have up to 14: set data\.source\.max_length"
    ):
        make(f"transformers/{short}")
    few = texts.write_network(texts.folder() / "few", 1, 8)
    config = few / "config.json"
    config.write_text(config.read_text().replace(f'"vocab_size": {len(texts.tokenizer())}', '"vocab_size": 9'))
    with pytest.raises(UserError, match="has 9 token ids, and the data have the id"):
        make(f"transformers/{few}")


def test_a_teacher_needs_weights():
    wanted = texts.recipe(KD, epochs=1, teacher=TeacherConfig(f"transformers/{texts.folder() / 'teacher'}"))
    provided = Provided(texts.network("student"), None, texts.dataset())
    with preserved_globals(), pytest.raises(UserError, match=r"teacher\.weights: a teacher needs trained weights"):
        build(resolve(wanted), provided)


def test_facts_of_a_network_made_by_name():
    known = facts(texts.network("student"))
    assert known.model.startswith("transformers/")
    assert known.example is None
    again = Facts(model="x", classes=2, fields=("attention_mask", "input_ids"), tokens=5, tokenizer="t")
    assert Facts.parse(again.as_metadata(), "here") == again
    assert again.example["input_ids"].shape == (2, 5)
