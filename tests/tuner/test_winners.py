"""What is told of the best while a run was interrupted, and while it is watched."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from search_space.budget import UNLIMITED
from search_space.space import Space
from storage import Store
from tests.tuner.simulation import BEST, Quiet, Simulation, context
from tuner.history.winners import winners
from tuner.records.objective import Objective
from tuner.records.plan import Plan
from tuner.records.progress import Reuse
from tuner.report.progress import ConsoleProgress
from tuner.run import Run


class Interrupted(Simulation):
    """Ctrl-C after so many trials of a race."""

    def __init__(self, after: int) -> None:
        super().__init__(noise=0.003)
        self._after = after

    def __call__(self, job, deadlines, on_phase):
        if deadlines.call_s is None and self.jobs:
            self._after -= 1
            if self._after < 0:
                raise KeyboardInterrupt
        return super().__call__(job, deadlines, on_phase)


@pytest.fixture
def plan(tmp_path):
    space = Space(context(), include=tuple(BEST))
    return Plan(space, UNLIMITED, 7, None, 600.0, tmp_path / "cache", race_rounds=3)


@pytest.mark.heavy
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_race_that_was_interrupted_in_its_first_round_says_nothing(plan, after, tmp_path):
    with Store(str(tmp_path / "history.db")) as store:
        run = Run(plan)
        run.go(store, Interrupted(after), Quiet())
        assert run.interrupted
        assert sum(stored.trial.purpose == "race" for stored in store.trials()) == after
        (winner,) = winners(store.trials())
    assert winner.stored.trial.config == run.tuned().config != {}
    assert (winner.speedup, run.tuned().speedup) == (None, None)


@pytest.mark.heavy
def test_the_best_so_far_is_that_of_the_objective(plan, tmp_path):
    plan = replace(plan, objective=Objective("memory"), race_rounds=0)
    with Store(str(tmp_path / "history.db")) as store:
        run = Run(plan)
        run.go(store, Simulation(), Quiet())
        trials = [stored.trial for stored in store.trials()]
    told = io.StringIO()
    ConsoleProgress(Console(file=told)).planned(plan, Reuse(tuple(trials)), ())
    chosen = run.tuned().config.describe()
    said = " ".join(told.getvalue().split())
    assert f"Reused from earlier runs: 7 trials; best so far: {chosen}." in said
    fastest = min(trials, key=lambda trial: trial.measurement.latency_s)
    assert fastest.config != run.tuned().config


def test_the_store_names_the_winner_of_a_run_with_pins_as_the_run_does(plan, tmp_path):
    # Slower than the default, which pins bar: without them the default would win the race.
    pinned = replace(plan, space=Space(context(), {"attention": "plain"}, ("attention",)))
    with Store(str(tmp_path / "history.db")) as store:
        run = Run(pinned)
        run.go(store, Simulation(noise=0.003), Quiet())
        (winner,) = winners(store.trials())
        assert run.tuned().config == winner.stored.trial.config == {"attention": "plain"}
        assert run.tuned().speedup == winner.speedup.ratio < 1
        free = Run(plan)
        free.go(store, Simulation(noise=0.003), Quiet())
        first, second = winners(store.trials())
    assert first.stored.trial.config == {"attention": "plain"}
    assert second.stored.trial.config == free.tuned().config == BEST
