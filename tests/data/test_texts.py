import pytest
import torch

from smskd.data.loaders.base import Loader
from smskd.data.loaders.sequences import SequenceLoader
from smskd.data.text_dataset import TextDataset
from smskd.data.texts import Field, Texts, field_of
from smskd.errors import UserError

LENGTHS = (3, 1, 5, 12, 2, 4, 7, 6, 2)


def texts(multiple: int = 4, **changes: object) -> Texts:
    ids = [torch.arange(10 * row, 10 * row + length, dtype=torch.int32) for row, length in enumerate(LENGTHS)]
    fields = {"input_ids": field_of(ids, 99), "score": Field(torch.rand(9, 2), torch.arange(10), None)}
    labels = torch.arange(9) % 3
    return Texts(
        **{"fields": fields, "labels": labels, "class_names": ("a", "b", "c"), "multiple": multiple, **changes}
    )


def test_a_batch_is_as_long_as_its_longest_sample_rounded_up():
    batch = texts().batch(torch.tensor([2, 0]))
    assert batch["input_ids"].tolist() == [[20, 21, 22, 23, 24, 99, 99, 99], [0, 1, 2, 99, 99, 99, 99, 99]]
    assert batch["attention_mask"].tolist() == [[1] * 5 + [0] * 3, [1] * 3 + [0] * 5]
    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == torch.int64


def test_it_is_no_longer_than_the_longest_sample_of_all():
    assert texts(multiple=8).batch(torch.tensor([3]))["input_ids"].shape == (1, 12)


def test_tensors_of_one_length_are_not_filled_up():
    some = texts()
    assert torch.equal(some.batch(torch.tensor([4, 1]))["score"][:, 0], some.fields["score"].values[[4, 1]])


def test_a_part_gives_the_samples_of_the_whole():
    some = texts()
    part = some.take(torch.tensor([5, 3, 0])).take(torch.tensor([2, 1]))
    assert len(part) == 2
    assert part.known_labels().tolist() == [0, 0]
    whole, own = some.batch(torch.tensor([0, 3])), part.batch(torch.tensor([0, 1]))
    assert all(torch.equal(whole[name], own[name]) for name in whole)
    assert part.lengths().tolist() == [3, 12]


def test_an_own_mask_is_kept():
    masks = [torch.tensor([1] * (length - 1) + [0], dtype=torch.int32) for length in LENGTHS[:1] + LENGTHS[2:4]]
    ids = [torch.ones(len(mask), dtype=torch.int32) for mask in masks]
    some = Texts(
        {"input_ids": field_of(ids), "attention_mask": field_of(masks)}, torch.zeros(3, dtype=torch.int64), ("a",)
    )
    assert some.batch(torch.arange(3))["attention_mask"].sum(1).tolist() == [2, 4, 11]


def test_the_tensors_of_two_tokenizers_have_lengths_of_their_own():
    ids = [torch.ones(2, dtype=torch.int32)] * 2
    other = [torch.ones(5, dtype=torch.int32)] * 2
    some = Texts({"input_ids": field_of(ids), "teacher.input_ids": field_of(other)}, torch.tensor([0, 0]), ("a",))
    assert {name: tuple(value.shape) for name, value in some.batch(torch.arange(2)).items()} == {
        "attention_mask": (2, 2),
        "input_ids": (2, 2),
        "teacher.attention_mask": (2, 5),
        "teacher.input_ids": (2, 5),
    }


def test_the_fingerprint_covers_samples_labels_and_order():
    some = texts()
    known = {
        some.fingerprint(),
        some.take(torch.arange(8)).fingerprint(),
        texts(labels=torch.zeros(9).long()).fingerprint(),
    }
    assert len({*known, some.take(torch.arange(9).flip(0)).fingerprint()}) == 4
    assert some.take(torch.arange(9)).fingerprint() == some.fingerprint()


def test_the_example_has_the_longest_sample_and_the_largest_id():
    example = texts().example(2)
    assert example["input_ids"].shape == (2, 12)
    assert {int(example["input_ids"][0, 0]), int(example["input_ids"][1, 0])} == {30, 80}


def test_an_empty_sample_and_a_wrong_label_are_refused():
    with pytest.raises(UserError, match="row 1 has no input_ids: it is empty"):
        Texts({"input_ids": field_of([torch.ones(1), torch.ones(0)])}, torch.tensor([0, 0]), ("a",))
    with pytest.raises(UserError, match="row 2 has label 2; with 2 classes"):
        texts(class_names=("a", "b"))


def test_classes_are_matched_by_name():
    other = texts(class_names=("c", "a", "b"))
    found = TextDataset(name="some", train=texts(), test=other)
    assert found.test.known_labels().tolist() == [2, 0, 1] * 3
    with pytest.raises(UserError, match="some: test texts: class 'd' is not among the 3 classes of the training texts"):
        TextDataset(name="some", train=texts(), test=texts(class_names=("a", "b", "d")))


def test_all_parts_may_be_as_long_as_the_longest_of_all():
    found = TextDataset(name="some", train=texts().take(torch.tensor([0, 1])), test=texts())
    assert found.train.most() == found.test.most() == 12


def test_an_epoch_visits_each_sample_once_in_an_order_of_its_own():
    loader = SequenceLoader(texts(), 4, seed=3)
    assert isinstance(loader, Loader)
    first, second = list(loader.epoch(1)), list(loader.epoch(2))
    assert [len(batch.y) for batch in first] == [4, 4]  # a single sample is left out, as batch norm needs two
    order = [int(row) for batch in first for row in batch.index]
    assert order != [int(row) for batch in second for row in batch.index]
    again = list(SequenceLoader(texts(), 4, seed=3).epoch(1))
    assert all(torch.equal(a.x["input_ids"], b.x["input_ids"]) for a, b in zip(first, again, strict=True))
    assert torch.equal(first[0].x["input_ids"][:, 0], 10 * first[0].index)
    assert torch.equal(first[0].token_mask, first[0].x["attention_mask"] == 1)


def test_no_view_of_texts_can_be_made():
    with pytest.raises(UserError, match="there is no view 'strong' of texts"):
        next(SequenceLoader(texts(), 4).epoch(1, views=frozenset({"strong"})))


def test_lengths_are_few():
    loader = SequenceLoader(texts(multiple=4), 2, seed=0)
    lengths = {batch.x["input_ids"].shape[1] for epoch in range(6) for batch in loader.epoch(epoch)}
    assert lengths <= {4, 8, 12}
