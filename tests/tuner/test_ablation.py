"""The ablation of a simulated run, in a real ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.space import Space
from tests.tuner.simulation import BEST, Quiet, Simulation, context, of
from tests.tuner.simulation import go_noisily as go
from tuner.run import Run


def test_each_change_of_the_winner_is_reverted_once(plan, found):
    tuned = go(plan, found).tuned()
    brings = {change["knob"]: change for change in tuned.changes}
    assert set(brings) == set(BEST)
    assert all(change["kept"] for change in brings.values())
    assert brings["precision"]["speedup"] == pytest.approx(2.0, rel=0.03)
    assert brings["memory_format"]["low"] > 1
    assert {1, 2} <= {trial.round for trial in of(found, "ablation")}


def test_a_change_that_brings_nothing_is_dropped(plan, store):
    class Idle(Simulation):
        """A machine on which the memory format makes no difference once it is compiled."""

        def outcome(self, config, job):
            idle = {name: value for name, value in config.items() if name != "memory_format"}
            return super().outcome(idle if "engine" in config else config, job)

    # Only the compiled config with the idle change is searched, so the race cannot know.
    fixed = {"precision": "bf16", "engine": "compile-default"}
    run = Run(replace(plan, space=Space(context(), fixed, ("memory_format",)), trials=2))
    run.go(store, Idle(noise=0.001), Quiet())
    tuned = run.tuned()
    brings = {change["knob"]: change["kept"] for change in tuned.changes}
    assert "memory_format" not in tuned.config
    assert brings == {"engine": True, "memory_format": False, "precision": True}
    assert {change["note"] for change in tuned.changes} >= {"it is fixed"}


def test_of_a_winner_with_one_change_the_race_says_what_it_brings(plan, store):
    space = Space(context(), include=("precision",))
    tuned = go(replace(plan, space=space, trials=2), store).tuned()
    (change,) = tuned.changes
    assert (change["knob"], change["kept"]) == ("precision", True)
    assert change["speedup"] == pytest.approx(tuned.speedup)
    assert of(store, "ablation") == []
    assert go(replace(plan, space=space, trials=2, ablation=False), store).tuned().changes == ()


def test_no_ablation_when_it_is_not_wanted(plan, store):
    assert go(replace(plan, ablation=False), store).tuned().changes == ()
    assert of(store, "ablation") == []
