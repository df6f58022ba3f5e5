from __future__ import annotations

from search_space.config import Config
from search_space.trial import Failure, FailureKind, Measurement, Peak, Purpose, Trial
from tuner.history.comparison import with_baseline
from tuner.report.trial import comparison_text

FAST = {"precision": "bf16"}
PEAKS = (Peak("host", "steady", "VmHWM", 2**30),)


def trial(number, latency_s, config=None, race=None, round=None, turns=None):
    began = "2026-01-01T00:00:00+00:00"
    outcome = (
        Failure(FailureKind.CRASH, "it crashed")
        if latency_s is None
        else Measurement({"steady": (latency_s,) * 3}, PEAKS, turns=turns or {})
    )
    purpose = Purpose.RACE if race else Purpose.SEARCH
    return Trial(Config(config or {}), outcome, 9.0, began, number, purpose, race, round)


def raced(first, rounds, default_s=2.0, fast_s=1.0):
    for round in range(1, rounds + 1):
        yield trial(first + 2 * round, default_s, {}, "a race", round)
        yield trial(first + 2 * round + 1, fast_s, FAST, "a race", round)


def test_a_config_is_compared_by_its_race():
    known = [trial(1, 9.0), trial(2, 1.0, FAST), *raced(2, 3)]
    for one in known[1::2]:
        compared = with_baseline(one, known)
        assert compared.rounds == 3
        assert round(compared.speedup.ratio, 6) == 2.0
        assert (
            comparison_text(compared) == "2.00x (2.00 to 2.00) over the default, raced in 3 rounds"
        )


def test_a_race_of_interleaved_calls_says_so():
    turns = {"steady": (0, 1, 2)}
    known = [
        trial(2 * n + i, 2.0 - i, (FAST if i else {}), "a race", n, turns)
        for n in (1, 2)
        for i in (0, 1)
    ]
    told = comparison_text(with_baseline(known[1], known))
    assert told.endswith(" over the default, raced in 2 rounds of interleaved calls")
    half = [*known[:3], trial(5, 1.0, FAST, "a race", 2)]
    assert not with_baseline(half[1], half).interleaved


def test_without_a_race_it_is_compared_with_the_last_baseline_before_it():
    known = [trial(1, 9.0), trial(2, 1.0, {"threads": "half"}), trial(9, 4.0), trial(8, 2.0, FAST)]
    compared = with_baseline(known[3], known)
    assert (compared.rounds, compared.baseline.number) == (0, 1)
    told = "4.50x over the default of trial 1, by one trial of each: not raced"
    assert comparison_text(compared) == told


def test_a_race_that_was_interrupted_in_its_first_round_is_none():
    known = [trial(1, 4.0), trial(2, 1.0, FAST), *raced(2, 1)]
    assert with_baseline(known[1], known).rounds == 0


def test_there_is_nothing_to_compare_for_a_baseline_a_failure_or_without_a_baseline():
    known = [trial(1, 4.0), trial(2, None, FAST), trial(3, 1.0, FAST)]
    assert with_baseline(known[0], known) is None
    assert with_baseline(known[1], known) is None
    assert with_baseline(known[2], known[1:]) is None
    failed = [trial(1, None), trial(3, 1.0, FAST)]
    assert with_baseline(failed[1], failed) is None
