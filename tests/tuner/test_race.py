"""What is concluded from a race: pure decisions over described trials."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import numpy
import pytest

from search_space.budget import UNLIMITED, Budget
from search_space.config import BASELINE, Config
from search_space.trial import Failure, FailureKind, Measurement, Peak, Trial
from tests.benchmarks.race_simulation import simulate
from tuner.race.additive_model import AdditiveModel, Interval
from tuner.race.race import Race, Standing, preferred, run_race
from tuner.records.objective import LATENCY, Objective, best, break_even_images, start_up_s
from tuner.records.statistics import half_width_s, spread

A, B = Config({"precision": "bf16"}), Config({"engine": "x"})
AB = Config({**A, **B})


def measurement(latency_s, peak_bytes=2**30, psnr_db=40.0, load_s=1.0, first_s=2.0):
    seconds = {"load": (load_s,), "first_call": (first_s,), "steady": (latency_s,)}
    return Measurement(seconds, (Peak("host", "steady", "said", peak_bytes),), {"psnr_db": psnr_db})


def trial(config, number, latency_s, **known):
    return Trial(config, measurement(latency_s, **known), 1.0, "2026-01-01", round=number)


def race_of(*configs, rounds=3, **rules):
    return Race(configs, rounds, **rules)


def run(race, latency_s, noise=0.001):
    """The trials of a race of entrants with known latencies."""
    generator = numpy.random.default_rng(0)
    trials = []
    for due, number in run_race(race, trials):
        for one in due:
            noisy_s = latency_s[one] * numpy.exp(generator.normal(0, noise))
            trials.append(trial(one, number, noisy_s))
    return trials


def test_every_entrant_runs_once_a_round_in_an_order_that_changes():
    race = race_of(BASELINE, A, B)
    trials = run(race, {BASELINE: 3.0, A: 1.0, B: 1.0}, noise=0.02)
    rounds = [[t.config for t in trials if t.round == number] for number in (1, 2, 3)]
    assert [len(configs) for configs in rounds] == [3, 3, 3]
    assert len({repr(configs) for configs in rounds}) > 1


def test_a_race_ends_after_two_rounds_where_all_is_decided():
    race = race_of(BASELINE, A, B, rounds=6)
    apart = run(race, {BASELINE: 3.0, A: 1.0, B: 1.3})
    assert [t.round for t in apart] == [1, 1, 1, 2, 2, 2]
    # As fast as the leader within 1 % is decided as well.
    tied = run(race, {BASELINE: 3.0, A: 1.0, B: 1.001})
    assert [t.round for t in tied] == [1, 1, 1, 2, 2, 2]


def test_what_is_slower_beyond_doubt_is_out_after_two_rounds_but_for_the_baseline():
    race = race_of(BASELINE, A, B, AB)
    trials = run(race, {BASELINE: 3.0, A: 1.0, AB: 1.0, B: 1.3}, noise=0.01)
    assert [t.round for t in trials if t.config == B] == [1, 2]
    assert [t.round for t in trials if t.config == {}][:3] == [1, 2, 3]


def test_what_may_still_be_better_is_given_more_rounds():
    race = race_of(BASELINE, A, B)
    trials = run(race, {BASELINE: 3.0, A: 1.0, B: 1.0}, noise=0.02)
    assert max(t.round for t in trials) == race.last_round()


def test_a_race_that_was_killed_is_finished():
    race = race_of(BASELINE, A)
    latency_s = {BASELINE: 3.0, A: 1.0}
    whole = run(race, latency_s)
    begun = whole[:3]
    rest, number = next(run_race(race, list(begun)))
    assert (rest, number) == ([whole[3].config], 2)


def test_a_shift_that_a_round_has_in_common_cancels_out():
    shifts = {1: 1.0, 2: 1.5, 3: 0.7}
    values = {"one": {n: 2.0 * s for n, s in shifts.items()}, "other": dict(shifts)}
    found = AdditiveModel(values).ratio("one", "other")
    assert (found.ratio, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_rounds_that_an_entrant_missed_do_not_mislead():
    values = {"one": {1: 2.0, 2: 4.0, 3: 8.0}, "late": {3: 4.0}}
    assert AdditiveModel(values).ratio("one", "late").ratio == pytest.approx(2.0)


def test_without_repetition_nothing_is_significant():
    found = AdditiveModel({"one": {1: 1.0}, "other": {1: 9.0}}).ratio("one", "other")
    assert found.low < 1 < found.high


def test_an_interval_turns_around():
    assert Interval(2.0, 1.6, 2.5).inverse == Interval(0.5, 0.4, 0.625)


def test_outliers_do_not_move_the_spread():
    assert spread([1.0, 2.0, 3.0]) == spread([1.0, 2.0, 300.0]) == pytest.approx(1.4826)


@pytest.mark.parametrize("count", [3, 5, 20])
def test_the_interval_of_a_median_holds_it_in_95_of_100(count):
    generator = numpy.random.default_rng(0)
    found = [generator.normal(1.0, 0.02, count).tolist() for _ in range(2000)]
    held = [abs(median(samples) - 1.0) <= half_width_s(samples) for samples in found]
    assert 0.94 <= sum(held) / len(held) <= 0.99


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ({"peak_bytes": 2**29}, {"psnr_db": 90.0}),
        ({"psnr_db": 60.0}, {}),
        ({"psnr_db": None, "load_s": 9.0}, {"psnr_db": 60.0}),
        ({"load_s": 0.5}, {}),
    ],
)
def test_ties_go_to_memory_then_likeness_then_the_start(mine, theirs):
    evidence = {A: trial(A, 1, 1.0, **mine), B: trial(B, 1, 1.0, **theirs)}
    assert preferred(list(reversed(evidence)), evidence) == A


def test_ties_go_to_fewer_changes_before_the_start():
    evidence = {AB: trial(AB, 1, 1.0, load_s=0.1), A: trial(A, 1, 1.0)}
    assert preferred(list(evidence), evidence) == A


def winner_of(race, trials):
    evidence = {t.config: t for t in trials if t.measurement}
    return Standing(race, trials).verdict(evidence).winner


def test_no_significant_gain_keeps_the_default():
    race = race_of(BASELINE, A)
    seconds = {1: (1.00, 0.97), 2: (1.02, 1.01), 3: (1.00, 0.98)}
    trials = [trial(BASELINE, number, default_s) for number, (default_s, _) in seconds.items()]
    trials += [trial(A, number, changed_s) for number, (_, changed_s) in seconds.items()]
    assert winner_of(race, trials) == BASELINE
    assert winner_of(race_of(BASELINE, A, barred=frozenset({BASELINE})), trials) == A


def test_what_is_simpler_and_not_worse_wins():
    race = race_of(BASELINE, A, AB)
    trials = run(race, {BASELINE: 3.0, A: 1.0, AB: 0.999}, noise=0.01)
    assert winner_of(race, trials) == A


def test_what_is_simpler_wins_only_with_a_gain_of_its_own():
    # As measured on a busy machine: A is too noisy to be worse than AB or better than the default.
    seconds = {
        BASELINE: (0.359, 0.437, 0.443, 0.437),
        A: (0.370, 0.283, 0.419, 0.356),
        AB: (0.298, 0.287, 0.274, 0.287),
    }
    race = race_of(BASELINE, A, AB)
    trials = [
        trial(one, number, call_s)
        for one, calls_s in seconds.items()
        for number, call_s in enumerate(calls_s, 1)
    ]
    standing = Standing(race, trials)
    assert standing.over_leader(A).low < 1 < standing.over_leader(BASELINE).low
    assert standing.speedup(A).low < 1
    assert winner_of(race, trials) == AB


def test_what_fails_or_passes_the_budget_once_does_not_win():
    race = race_of(BASELINE, A, B, budget=Budget(2**30))
    latency_s = {BASELINE: 3.0, A: 1.0, B: 2.0}
    trials = run(race, latency_s)
    assert winner_of(race, trials) == A
    over = [*trials, trial(A, 3, 1.0, peak_bytes=2**31)]
    assert winner_of(race, over) == B
    crash = Failure(FailureKind.CRASH, "it died")
    assert winner_of(race, [*trials, Trial(A, crash, 1.0, "2026-01-01", round=3)]) == B


def test_memory_is_not_won_by_what_is_slower_than_the_default():
    race = race_of(BASELINE, A, B, objective=Objective("memory"))
    trials = [
        trial(config, number, latency_s + number / 1000, peak_bytes=peak + number)
        for number in (1, 2, 3)
        for config, latency_s, peak in [(BASELINE, 1.0, 4000), (A, 0.9, 3000), (B, 2.0, 1000)]
    ]
    assert winner_of(race, trials) == A


def test_the_objective_is_one_figure_of_a_measurement():
    measured = measurement(2.0, peak_bytes=7, load_s=3.0, first_s=5.0)
    assert LATENCY.value(measured) == 2.0
    assert Objective("session", 20).value(measured) == 3.0 + 5.0 + 19 * 2.0
    assert Objective("session", 20, 4).value(measured) == 3.0 + 5.0 + 4 * 2.0
    assert Objective("memory").value(measured) == 7
    assert start_up_s(measured) == 8.0


@pytest.mark.parametrize(
    "objective",
    [LATENCY, Objective("session", 20), Objective("session", 20, 4), Objective("memory")],
)
def test_an_objective_is_read_back(objective):
    assert Objective.parse(str(objective)) == objective


def test_the_best_of_memory_is_no_slower_than_the_baseline():
    baseline = measurement(1.0)
    trials = [trial(A, 0, 1.5, peak_bytes=10), trial(B, 0, 1.0, peak_bytes=20)]
    assert best(trials, UNLIMITED, Objective("memory"), baseline) is trials[1]


@pytest.mark.parametrize(
    ("first_s", "latency_s", "images"),
    [(2.0, 1.0, 1), (12.0, 1.0, 11), (12.5, 1.0, 12), (9, 2, None)],
)
def test_break_even_counts_the_images(first_s, latency_s, images):
    tuned, baseline = measurement(latency_s, first_s=first_s), measurement(2.0, first_s=2.0)
    assert break_even_images(tuned, baseline) == images
    four = None if images is None else 4 * images
    assert break_even_images(replace(tuned, images=4), replace(baseline, images=4)) == four


@pytest.mark.parametrize(
    ("first_s", "image_s", "images"),
    [(6.0, 1.5, 4), (7.9, 1.5, 4), (8.1, 1.5, 8), (30.0, 1.5, 48), (30.0, 2.0, None)],
)
def test_break_even_counts_all_images_of_a_first_call(first_s, image_s, images):
    # Four images take the baseline 8 s, and its first call makes a single one.
    baseline = measurement(2.0, first_s=2.0)
    tuned = replace(measurement(4 * image_s, first_s=first_s), images=4, counted=4)
    assert break_even_images(tuned, baseline) == images


def test_the_race_picks_well_and_its_interval_holds():
    found = simulate(noise=0.01, gain=2.0, runs=100, seed=1)
    assert found.near >= 0.9
    assert found.covered >= 0.9


def test_where_nothing_is_noisy_the_race_is_right():
    found = simulate(noise=0.0005, gain=2.0, runs=20, seed=1)
    assert found.near == 1.0
