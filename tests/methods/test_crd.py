"""CRD's memory: what is drawn, what is remembered, and that a saved state goes on where it stopped."""

import pytest
import torch
from torch import Tensor

from smskd import contrast_memory
from smskd.contrast_memory import ContrastMemory, memory_scores
from smskd.errors import UserError
from smskd.methods.crd import CRD, crd_loss
from smskd.negatives import Negatives, draw_subsets
from smskd.types import Batch, DataInfo, Output, Side

UNEQUAL = torch.tensor([0] * 30 + [1] * 7 + [2] * 200 + [4] * 63)[torch.randperm(300, generator=torch.Generator())]
EQUAL = torch.arange(300) % 6
NOTHING = torch.empty(0)


def _memory(method: CRD, labels: Tensor = EQUAL, seed: int = 0) -> ContrastMemory:
    torch.manual_seed(seed)
    state = method.build(Side(((9,),), 6), Side(((11,),), 6), DataInfo(len(labels), 6, 8, labels))
    assert isinstance(state, ContrastMemory)
    return state


def _step(method: CRD, state: ContrastMemory, index: Tensor, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(len(index), 9, generator=generator)
    teacher = torch.randn(len(index), 11, generator=generator)
    batch = Batch(student, EQUAL[index], index)
    return method.loss(Output(NOTHING, (student,)), Output(NOTHING, (teacher,)), batch, state)


@pytest.mark.parametrize("labels", [EQUAL, UNEQUAL], ids=["equal classes", "unequal classes"])
@pytest.mark.parametrize("count", [1, 20, 90])
def test_negatives_are_of_other_classes_and_drawn_once(labels: Tensor, count: int) -> None:
    index = torch.randint(300, (16,), generator=torch.Generator().manual_seed(1))
    drawn = Negatives(labels, count, relax=False).draw(index)
    assert drawn.shape == (16, count + 1)
    assert drawn.dtype == torch.int64
    assert torch.equal(drawn[:, 0], index)
    assert (labels[drawn[:, 1:]] != labels[index].unsqueeze(1)).all()
    assert all(len(row.unique()) == count for row in drawn[:, 1:])


@pytest.mark.parametrize("labels", [EQUAL, UNEQUAL], ids=["equal classes", "unequal classes"])
def test_with_too_few_negatives_they_are_drawn_with_replacement(labels: Tensor) -> None:
    index = torch.arange(16)
    drawn = Negatives(labels, 400, relax=False).draw(index)
    assert drawn.shape == (16, 401)
    assert (labels[drawn[:, 1:]] != labels[index].unsqueeze(1)).all()


def test_all_of_the_others_are_drawn_where_as_many_are_asked_for() -> None:
    drawn = Negatives(EQUAL, 250, relax=False).draw(torch.tensor([4]))
    assert set(drawn[0, 1:].tolist()) == set((EQUAL[4] != EQUAL).nonzero().flatten().tolist())


def test_a_relaxed_positive_is_any_sample_of_the_class() -> None:
    index = torch.full((2000,), 7)
    positives = Negatives(EQUAL, 1, relax=True).draw(index)[:, 0]
    assert set(positives.tolist()) == set((EQUAL[7] == EQUAL).nonzero().flatten().tolist())


@pytest.mark.parametrize(("pool", "count"), [(250, 70), (100, 8), (65, 64)])
def test_every_member_of_the_pool_is_drawn_equally_often(pool: int, count: int) -> None:
    """Each member is drawn with probability count/pool, and each pair as often as in uniform subsets."""
    generator = torch.Generator().manual_seed(0)
    calls, rows = 1500, 4
    hits, together = torch.zeros(pool), 0
    for _ in range(calls):
        drawn = draw_subsets(rows, pool, count, generator)
        hits += drawn.flatten().bincount(minlength=pool)
        together += int(torch.isin(drawn, torch.tensor([3, 11])).sum(dim=1).eq(2).sum())
    share = count / pool
    spread = (share * (1 - share) * rows / calls) ** 0.5  # rows of a call may move together
    assert (hits / (calls * rows) - share).abs().max() < 5 * spread
    expected = share * (count - 1) / (pool - 1)
    assert together / (calls * rows) == pytest.approx(expected, abs=5 * (expected * rows / (calls * rows)) ** 0.5)


def test_rows_of_a_call_differ() -> None:
    drawn = draw_subsets(8, 10_000, 1000, torch.Generator().manual_seed(0))
    overlap = torch.isin(drawn[0], drawn[1]).float().mean()
    assert 0 < overlap < 0.3


def test_the_two_ways_to_score_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    embedding, memory = torch.randn(5, 8, dtype=torch.float64), torch.randn(200, 8, dtype=torch.float64)
    drawn = torch.randint(200, (5, 13))
    by_product = memory_scores(embedding, memory, drawn, 0.07)
    monkeypatch.setattr(contrast_memory, "GATHERED_COST", 1)
    by_rows = memory_scores(embedding, memory, drawn, 0.07)
    torch.testing.assert_close(by_product, by_rows)


def test_the_gradient_is_the_one_of_the_loss_before_the_memory_changed() -> None:
    method = CRD(feature_dim=8, negatives=20, temperature=0.5)
    state = _memory(method).double()
    index = torch.arange(6)
    drawn = state.negatives.draw(index)
    state.negatives.draw = lambda index: drawn  # type: ignore[method-assign]
    before = state.memory_teacher.clone()
    feature = torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(6, 11, dtype=torch.float64)
    batch = Batch(feature, EQUAL[index], index)
    parts = method.loss(Output(NOTHING, (feature,)), Output(NOTHING, (teacher,)), batch, state)
    assert not torch.equal(state.memory_teacher, before)
    (3 * parts["student"]).backward()
    embedding = torch.nn.functional.normalize(state.embed_student(feature), dim=1)
    loss, z = crd_loss(embedding, before, drawn, 0.5)
    (expected,) = torch.autograd.grad(3 * loss, feature)
    torch.testing.assert_close(parts["student"], loss)
    torch.testing.assert_close(feature.grad, expected)
    torch.testing.assert_close(state.z_student, z)


def test_z_is_set_once() -> None:
    method = CRD(feature_dim=8, negatives=20)
    state = _memory(method)
    assert float(state.z_student) == float(state.z_teacher) == -1
    _step(method, state, torch.arange(8), seed=1)
    first = float(state.z_student), float(state.z_teacher)
    assert min(first) > 0
    _step(method, state, torch.arange(8, 16), seed=2)
    assert (float(state.z_student), float(state.z_teacher)) == first


def test_only_the_rows_of_the_batch_are_moved_and_to_unit_length() -> None:
    method = CRD(feature_dim=8, negatives=20)
    state = _memory(method)
    before = state.memory_student.clone()
    index = torch.tensor([5, 100, 299])
    _step(method, state, index, seed=1)
    moved = (state.memory_student != before).any(dim=1).nonzero().flatten()
    assert torch.equal(moved, index)
    torch.testing.assert_close(state.memory_student[index].norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("mode", ["exact", "relax"])
def test_a_saved_state_goes_on_bit_by_bit(mode: str) -> None:
    method = CRD(feature_dim=8, negatives=20, mode=mode)  # type: ignore[arg-type]
    state = _memory(method)
    for seed in range(3):
        _step(method, state, torch.arange(8) + 8 * seed, seed)
    saved = {name: tensor.clone() for name, tensor in state.state_dict().items()}
    other = _memory(method, seed=99)
    other.load_state_dict(saved)
    for seed in range(3, 6):
        index = torch.arange(8) + 8 * seed
        ours, theirs = _step(method, state, index, seed), _step(method, other, index, seed)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name, tensor in state.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_drawing_leaves_the_global_generator_alone() -> None:
    state = _memory(CRD(feature_dim=8, negatives=20))
    before = torch.get_rng_state()
    state.negatives.draw(torch.arange(4))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seed_decides_what_is_drawn() -> None:
    method = CRD(feature_dim=8, negatives=20)
    draws = [_memory(method, seed=seed).negatives.draw(torch.arange(4)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_labels_are_not_part_of_the_saved_state() -> None:
    names = set(_memory(CRD(feature_dim=8, negatives=20)).state_dict())
    assert names == {
        *(f"{layer}.{part}" for layer in ("embed_student", "embed_teacher") for part in ("weight", "bias")),
        *("memory_student", "memory_teacher", "z_student", "z_teacher", "negatives._extra_state"),
    }


def test_a_batch_without_an_index_is_refused() -> None:
    method = CRD(feature_dim=8, negatives=20)
    outputs = Output(NOTHING, (torch.randn(2, 9),)), Output(NOTHING, (torch.randn(2, 11),))
    with pytest.raises(UserError, match="needs the batch's index"):
        method.loss(*outputs, Batch(torch.zeros(2), torch.zeros(2).long()), _memory(method))
