"""CRD: sampling of the negatives, updates of the memory, and continuing from a saved state."""

import pytest
import torch
from torch import Tensor

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import ModelInfo, TappedOutputs
from smskd.interfaces.terms import DataInfo, TermInputs
from smskd.methods.crd import CRD, crd_loss
from smskd.ops import contrast_memory
from smskd.ops.contrast_memory import ContrastMemory, Negatives, Shared, memory_scores

UNEQUAL = torch.tensor([0] * 30 + [1] * 7 + [2] * 200 + [4] * 63)[torch.randperm(300, generator=torch.Generator())]
EQUAL = torch.arange(300) % 6


def _memory(method: CRD, labels: Tensor = EQUAL, seed: int = 0) -> ContrastMemory:
    torch.manual_seed(seed)
    state = method.build(ModelInfo(((9,),), 6), ModelInfo(((11,),), 6), DataInfo(len(labels), 6, 8, labels))
    assert isinstance(state, ContrastMemory)
    return state


def _step(method: CRD, state: ContrastMemory, index: Tensor, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(len(index), 9, generator=generator)
    teacher = torch.randn(len(index), 11, generator=generator)
    return method.loss(_inputs(student, teacher, index), state)


def _inputs(student: Tensor, teacher: Tensor, index: Tensor | None) -> TermInputs:
    y = torch.zeros(len(student), dtype=torch.int64) if index is None else EQUAL[index]
    outputs = (TappedOutputs(features=(feature,)) for feature in (student, teacher))
    return TermInputs(Batch(student, y, index), *outputs)


def _rows(drawn: Shared | Tensor) -> Tensor:
    """[N, K + 1] rows of the memory, however they were drawn."""
    if not isinstance(drawn, Shared):
        return drawn
    negatives = [drawn.rows[~left_out] for left_out in drawn.left_out.T]
    return torch.cat([drawn.positive.unsqueeze(1), torch.stack(negatives)], dim=1)


@pytest.mark.parametrize("labels", [EQUAL, UNEQUAL], ids=["equal classes", "unequal classes"])
@pytest.mark.parametrize("count", [1, 20, 90])
def test_negatives_are_of_other_classes_and_drawn_once(labels: Tensor, count: int) -> None:
    index = torch.randint(300, (16,), generator=torch.Generator().manual_seed(1))
    shared = Negatives(labels, count, relax=False).draw(index)
    assert isinstance(shared, Shared)
    drawn = _rows(shared)
    assert drawn.shape == (16, count + 1)
    assert drawn.dtype == torch.int64
    assert torch.equal(drawn[:, 0], index)
    assert (labels[drawn[:, 1:]] != labels[index].unsqueeze(1)).all()
    assert all(len(row.unique()) == count for row in drawn[:, 1:])


@pytest.mark.parametrize("labels", [EQUAL, UNEQUAL], ids=["equal classes", "unequal classes"])
@pytest.mark.parametrize("count", [150, 400])
def test_with_too_few_negatives_they_are_drawn_with_replacement(labels: Tensor, count: int) -> None:
    index = torch.arange(16)
    drawn = _rows(Negatives(labels, count, relax=False).draw(index))
    assert drawn.shape == (16, count + 1)
    assert (labels[drawn[:, 1:]] != labels[index].unsqueeze(1)).all()
    for sample, row in zip(index, drawn[:, 1:], strict=True):
        enough = int((labels != labels[sample]).sum()) >= count
        assert (len(row.unique()) == count) == enough


def test_all_of_the_others_are_drawn_where_as_many_are_asked_for() -> None:
    drawn = _rows(Negatives(EQUAL, 250, relax=False).draw(torch.tensor([4])))
    assert set(drawn[0, 1:].tolist()) == set((EQUAL[4] != EQUAL).nonzero().flatten().tolist())


def test_a_relaxed_positive_is_any_sample_of_the_class() -> None:
    index = torch.full((2000,), 7)
    positives = _rows(Negatives(EQUAL, 1, relax=True).draw(index))[:, 0]
    assert set(positives.tolist()) == set((EQUAL[7] == EQUAL).nonzero().flatten().tolist())


@pytest.mark.parametrize("labels", [EQUAL, UNEQUAL], ids=["equal classes", "unequal classes"])
@pytest.mark.parametrize("count", [8, 70])
def test_every_sample_of_other_classes_is_drawn_equally_often(labels: Tensor, count: int) -> None:
    """Each with probability K/pool, and each pair as often as in uniform subsets."""
    calls, sample = 3000, 4
    others = (labels != labels[sample]).nonzero().flatten()
    pool = len(others)
    negatives = Negatives(labels, count, relax=False)
    hits, together = torch.zeros(300), 0
    for _ in range(calls):
        drawn = _rows(negatives.draw(torch.tensor([sample])))[0, 1:]
        hits += drawn.bincount(minlength=300)
        together += int(torch.isin(drawn, others[[3, 11]]).sum()) == 2
    share = count / pool
    assert (hits[others] / calls - share).abs().max() < 5 * (share * (1 - share) / calls) ** 0.5
    expected = share * (count - 1) / (pool - 1)
    assert together / calls == pytest.approx(expected, abs=5 * (expected / calls) ** 0.5)


def test_of_many_samples_few_rows_are_drawn_and_each_sample_has_its_negatives() -> None:
    labels = torch.arange(100_000) % 4
    shared = Negatives(labels, 500, relax=False).draw(torch.arange(9))
    assert isinstance(shared, Shared)
    assert len(shared.rows) < 1_000
    assert len(shared.rows.unique()) == len(shared.rows)
    assert (~shared.left_out).sum(0).tolist() == [500] * 9
    assert not ((labels[shared.rows].unsqueeze(1) == labels[:9]) & ~shared.left_out).any()


def test_shared_rows_score_and_train_as_the_same_rows_listed_for_each_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(300, 8, dtype=torch.float64, generator=generator)
    embedding = torch.randn(16, 8, dtype=torch.float64, generator=generator)
    shared = Negatives(UNEQUAL, 60, relax=False).draw(torch.arange(16))
    results = []
    for contrast in (shared, _rows(shared)):
        leaf = embedding.clone().requires_grad_()
        loss, z = crd_loss(leaf, memory, contrast, 0.5)
        (gradient,) = torch.autograd.grad(loss, leaf)
        results.append((loss.detach(), z, gradient))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_the_two_ways_to_score_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    embedding, memory = torch.randn(5, 8, dtype=torch.float64), torch.randn(200, 8, dtype=torch.float64)
    drawn = torch.randint(200, (5, 13))
    by_product = memory_scores(embedding, memory, drawn, 0.07)
    monkeypatch.setattr(contrast_memory, "GATHERED_COST", 1)
    by_rows = memory_scores(embedding, memory, drawn, 0.07)
    for one, other in zip(by_product, by_rows, strict=True):
        torch.testing.assert_close(one, other)


def test_the_loss_of_a_sample_is_that_of_the_sample_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(300, 8, dtype=torch.float64, generator=generator)
    embedding = torch.randn(16, 8, dtype=torch.float64, generator=generator)
    z = torch.tensor(50.0, dtype=torch.float64)
    shared = Negatives(UNEQUAL, 60, relax=False).draw(torch.arange(16))
    for contrast in (shared, _rows(shared)):
        losses, _ = crd_loss(embedding, memory, contrast, 0.5, z, "none")
        rows = _rows(shared)
        alone = [crd_loss(embedding[i : i + 1], memory, rows[i : i + 1], 0.5, z)[0] for i in range(16)]
        torch.testing.assert_close(losses, torch.stack(alone))


def test_the_gradient_is_the_one_of_the_loss_before_the_memory_changed() -> None:
    method = CRD(feature_dim=8, negatives=20, temperature=0.5)
    state = _memory(method).double()
    index = torch.arange(6)
    drawn = state.negatives.draw(index)
    state.negatives.draw = lambda index: drawn  # type: ignore[method-assign]
    before = state.memory_teacher.clone()
    feature = torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(6, 11, dtype=torch.float64)
    parts = method.loss(_inputs(feature, teacher, index), state)
    assert not torch.equal(state.memory_teacher, before)
    (3 * parts["student"].mean()).backward()
    embedding = torch.nn.functional.normalize(state.embed_student(feature), dim=1)
    loss, z = crd_loss(embedding, before, drawn, 0.5)
    (expected,) = torch.autograd.grad(3 * loss, feature)
    torch.testing.assert_close(parts["student"].mean(), loss)
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
    draws = [_rows(_memory(method, seed=seed).negatives.draw(torch.arange(4))) for seed in (1, 1, 2)]
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
    with pytest.raises(UserError, match="needs the index of the batch"):
        method.loss(_inputs(torch.randn(2, 9), torch.randn(2, 11), None), _memory(method))
