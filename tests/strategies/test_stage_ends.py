"""Where stages end, and shares of the epochs."""

import pytest

from smskd.config.optimization import ScheduleConfig
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.strategies.resolve import resolve, stage_ends
from tests.support.recipes import recipe, spans, stages_of

VALIDATED = {"source": "digits", "validation": {"fraction": 0.1}}
PUBLISHED = ScheduleConfig().resolve(240)


class TestEnds:
    def test_the_second_stage_starts_at_the_first_decay(self) -> None:
        assert spans(stages_of(recipe(methods=["fitnet", "kd"]))) == [(1, 150), (151, 240)]

    def test_three_and_four_stages_change_at_the_decays(self) -> None:
        names = ["fitnet", "at", "kd", "sp"]
        assert spans(stages_of(recipe(methods=names[:3]))) == [(1, 150), (151, 180), (181, 240)]
        assert spans(stages_of(recipe(methods=names))) == [(1, 150), (151, 180), (181, 210), (211, 240)]

    def test_no_decay_is_left(self) -> None:
        with pytest.raises(UserError, match=r"^stages\.3: no learning-rate decay between epochs 211 and 240 ends it"):
            stages_of(recipe(methods=["fitnet", "at", "kd", "sp", "pkt"]))

    def test_a_decay_at_the_very_end_ends_no_stage(self) -> None:
        with pytest.raises(UserError, match="no learning-rate decay between epochs 1 and 150"):
            stage_ends([StageConfig(), StageConfig()], 150, PUBLISHED)

    def test_decays_in_any_order(self) -> None:
        schedule = ScheduleConfig(decay_at=(210, 150, 180))
        assert stage_ends([StageConfig()] * 3, 240, schedule) == [150, 180, 240]

    @pytest.mark.parametrize("name", ["cosine", "constant"])
    def test_without_steps_a_stage_needs_an_end(self, name: str) -> None:
        schedule = ScheduleConfig(name=name)  # type: ignore[arg-type]
        with pytest.raises(UserError, match="give ends_after or epochs"):
            stage_ends([StageConfig(), StageConfig()], 240, schedule)
        assert stage_ends([StageConfig(ends_after=100), StageConfig()], 240, schedule) == [100, 240]

    @pytest.mark.parametrize(
        ("specs", "ends"),
        [
            ([StageConfig(ends_after=100), StageConfig()], [100, 240]),
            ([StageConfig(epochs=100), StageConfig()], [100, 240]),
            ([StageConfig(epochs=100), StageConfig(epochs=100)], [100, 200]),
            ([StageConfig(ends_after=240), StageConfig(epochs=90)], [240, 330]),
            ([StageConfig(epochs=10), StageConfig(), StageConfig(ends_after=160), StageConfig()], [10, 150, 160, 240]),
            ([StageConfig(ends_after=160), StageConfig(), StageConfig()], [160, 180, 240]),
            ([StageConfig(ends_after=300)], [300]),
            ([StageConfig()], [240]),
        ],
    )
    def test_ends_after_and_epochs(self, specs: list[StageConfig], ends: list[int]) -> None:
        assert stage_ends(specs, 240, PUBLISHED) == ends

    @pytest.mark.parametrize(
        ("specs", "message"),
        [
            (
                [StageConfig(ends_after=100), StageConfig(ends_after=100)],
                r"^stages\.1\.ends_after: stage 2 ends after epoch 100, before",
            ),
            ([StageConfig(ends_after=100), StageConfig(ends_after=50)], r"before it begins \(epoch 101\)"),
            (
                [StageConfig(epochs=240), StageConfig()],
                r"^stages\.1: stage 2 ends after epoch 240.*training\.epochs is 240",
            ),
            ([StageConfig(ends_after=1, epochs=1)], r"^stages\.0: give either ends_after or epochs, not both"),
        ],
    )
    def test_mistakes(self, specs: list[StageConfig], message: str) -> None:
        with pytest.raises(UserError, match=message):
            stage_ends(specs, 240, PUBLISHED)


class TestShares:
    def test_of_a_schedule_and_of_stages_are_resolved_to_epochs(self) -> None:
        stages = [{"methods": ["at"], "ends_after": "1/2"}, {"methods": ["kd"]}]
        full = resolve(recipe(training={"epochs": 30}, schedule={"decay_at": ["1/3", "2/3", 25]}, stages=stages))
        assert full.schedule.decay_at == (10, 20, 25)
        assert spans(full.stages) == [(1, 15), (16, 30)]
        assert full.epochs == 30

    def test_of_a_stage_with_a_schedule_of_its_own_count_within_it(self) -> None:
        stages = [{"ends_after": 10}, {"schedule": {"decay_at": ["1/2"]}}]
        assert stages_of(recipe(training={"epochs": 30}, stages=stages))[1].schedule == ScheduleConfig(decay_at=(10,))

    def test_the_default_decays_follow_the_epochs(self) -> None:
        assert resolve(recipe(training={"epochs": 24})).schedule.decay_at == (15, 18, 21)
        assert spans(stages_of(recipe(training={"epochs": 24}, methods=["fitnet", "kd"]))) == [(1, 15), (16, 24)]

    def test_shares_that_round_to_nothing_or_to_one_epoch_are_dropped(self) -> None:
        assert resolve(recipe(training={"epochs": 1})).schedule.decay_at == (1,)
        assert resolve(recipe(training={"epochs": 2}, schedule={"decay_at": ["1/8"]})).schedule.decay_at == ()
