"""Winners are the same whether all trials are read or only those that decide."""

from __future__ import annotations

import random
from itertools import product

import pytest

from search_space.budget import Budget
from search_space.config import BASELINE, Config
from search_space.knob import Tier
from search_space.trial import Failure, FailureKind, Measurement, Peak, Purpose, Trial
from storage import Store
from storage.summary import Filter
from tests.machines import described
from tests.tuner.simulation import context
from tuner.history.read import History
from tuner.history.winners import chosen_again, rules_by, winners, winners_of

GIB = 2**30
CONFIGS = (
    BASELINE,
    Config({"precision": "bf16"}),
    Config({"precision": "fp16"}),
    Config({"memory_format": "channels_last"}),
    Config({"precision": "bf16", "memory_format": "channels_last"}),
    Config({"attention_slicing": "max"}),
)
OBJECTIVES = (None, "memory", "session of 8 images")


def outcome(chance: random.Random, config: Config) -> Measurement | Failure:
    if chance.random() < 0.15:
        kinds = (FailureKind.HOST_OUT_OF_MEMORY, FailureKind.CRASH, FailureKind.TIMEOUT)
        return Failure(chance.choice(kinds), "why", peak_bytes=chance.choice((None, GIB)))
    place = CONFIGS.index(config)
    level_s = 1.0 + 0.1 * place * (-1) ** place
    steady = tuple(level_s * chance.uniform(0.95, 1.05) for _ in range(3))
    seconds = {"load": (chance.uniform(1, 9),), "first_call": (3.0,), "steady": steady}
    fidelity = {} if config.is_baseline else {"psnr_db": 55 - 7 * place + chance.uniform(-2, 2)}
    peaks = (Peak("host", "steady", "rss", (1 + place % 4) * GIB + chance.randrange(GIB // 2)),)
    return Measurement(seconds, peaks, fidelity)


def fill(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    workload = context().workload
    budgets = (Budget(), Budget(4 * GIB), Budget(3 * GIB, quality=Tier.NEAR))
    pins = ({}, {"precision": ["bf16"]})
    machines = (described("cpu"), described("cuda"))
    every = list(product(machines, budgets, pins, OBJECTIVES))
    studies = [store.open_study(machine, workload, *rest) for machine, *rest in every]
    studies = chance.sample(studies, 12)
    for number in range(240):
        study, config = chance.choice(studies), chance.choice(CONFIGS)
        purpose = chance.choice((Purpose.SEARCH, Purpose.SEARCH, Purpose.DRIFT, Purpose.BASELINE))
        trial = Trial(
            config, outcome(chance, config), 9.0, f"2026-01-01T00:{number % 60:02}:00+00:00"
        )
        if chance.random() < 0.15:
            race = f"race {chance.randrange(3)} of {study}"
            entrants = chance.sample(CONFIGS[1:], 2)
            for round in range(1, chance.randrange(2, 5)):
                for entrant in (BASELINE, *entrants):
                    raced = Trial(
                        entrant,
                        outcome(chance, entrant),
                        9.0,
                        trial.started_at,
                        purpose=Purpose.RACE,
                        race=race,
                        round=round,
                    )
                    store.add(study, raced)
        store.add(study, Trial(config, trial.outcome, 9.0, trial.started_at, purpose=purpose))


def told(found):
    return sorted(
        (
            winner.stored.trial.number,
            str(winner.budget),
            winner.objective,
            winner.reason,
            winner.speedup and (winner.speedup.ratio, winner.speedup.low),
            len(winner.race_trials),
            winner.spoiled,
        )
        for winner in found
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_winners_are_those_of_all_trials(seed):
    with Store("sqlite://") as store:
        fill(store, seed)
        everything = store.trials()
        assert told(winners_of(store)) == told(winners(everything))
        some = [each for each in everything if each.machine.device == "cpu"]
        found = winners_of(store, [Filter("device_kind", "=", "cpu")])
        assert told(found) == told(winners(some)) != []


@pytest.mark.parametrize("objective", ["latency", "memory"])
def test_chosen_again_within_less_memory_is_the_best_of_what_was_measured(objective):
    with Store("sqlite://") as store:
        fill(store, 1)
        rules = rules_by(4 * GIB, Tier.LOSSY, objective)
        chosen = {winner.stored.trial.number for winner in chosen_again(store, rules)}
        groups = {}
        for each in store.trials():
            groups.setdefault(each.machine.device, []).append(each.trial)
    expected = set()
    for group in groups.values():
        barred = {
            trial.config
            for trial in group
            if trial.exceeds(rules.budget) or (trial.measurement and trial.judged(rules.budget))
        }
        latest = {trial.config: trial for trial in group if trial.purpose.is_searched}
        baseline = latest[BASELINE].measurement
        allowed = [
            trial
            for trial in latest.values()
            if trial.measurement
            and trial.config not in barred
            and rules.objective.excess(trial.measurement, baseline) <= 0
        ]
        value = rules.objective.value
        expected |= {t.number for t in sorted(allowed, key=lambda t: value(t.measurement))[:1]}
    assert chosen == expected
    assert chosen or objective == "memory"


def test_the_history_of_a_store_gives_the_same(tmp_path):
    with Store(str(tmp_path / "history.db")) as store:
        fill(store, 3)
        everything = store.trials()
    assert told(History(str(tmp_path / "history.db")).best()) == told(winners(everything))
