"""The race of a simulated run and what it says of the winner, in a real ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.budget import Budget
from search_space.space import Space
from search_space.trial import FailureKind
from tests.tuner.drawing import drawn
from tests.tuner.simulation import BEST, GIB, NEIGHBOUR, SEARCHED, Quiet, Simulation, context, of
from tests.tuner.simulation import go_noisily as go
from tuner.history.winners import winners
from tuner.records.objective import Objective
from tuner.report.best import best_json, best_table
from tuner.report.result import changes_table
from tuner.run import Run

TRUE_SPEEDUP = 1 / (0.5 * 0.9 * 0.6)


def test_the_speedup_comes_from_the_race_alone(plan, found):
    tuned = go(plan, found).tuned()
    assert tuned.config == BEST
    assert tuned.speedup_low < TRUE_SPEEDUP < tuned.speedup_high
    assert tuned.speedup == pytest.approx(TRUE_SPEEDUP, rel=0.02)
    assert tuned.speedup == pytest.approx(tuned.baseline["latency_s"] / tuned.tuned["latency_s"])
    rounds = {trial.round for trial in of(found, "race")}
    assert rounds >= {1, 2}
    one_round = [trial.config for trial in of(found, "race") if trial.round == 1]
    assert {} in one_round
    assert BEST in one_round


def test_whoever_watches_is_told_how_much_of_the_race_is_left(plan, found):
    watched = Quiet()
    Run(replace(plan, ablation=False)).go(found, Simulation(noise=0.003), watched)
    told = [line for line in watched.told if line[0] == "race"]
    left = [line[3] for line in told]
    entrants = sum(line[1] == 1 for line in told)
    assert left[0] == 3 * entrants
    assert left == sorted(left, reverse=True)
    # All is decided after two of the three rounds.
    assert left[-1] == 1 + entrants
    assert {line[2] for line in told} == {3}


def test_race_trials_are_neither_capped_nor_the_reference(plan, found):
    simulation = Simulation(noise=0.003)
    run = go(plan, found, simulation)
    raced = simulation.jobs[len(run.trials) - 2 :]
    assert {(job.cap_s, job.output) for job in raced if job.config} == {(None, None)}
    assert all(job.reference for job in raced)
    assert {limits.call_s for limits in simulation.deadlines[-len(raced) :]} == {None}
    folders = [job.compile_cache for job in raced]
    assert len(set(folders)) == len({repr(job.config) for job in raced})
    assert None not in folders


def test_without_a_race_there_is_no_speedup(plan, found):
    tuned = go(replace(plan, race_rounds=0), found).tuned()
    assert tuned.config == BEST
    assert tuned.speedup is tuned.speedup_low is tuned.speedup_high is None
    assert of(found, "race") == of(found, "ablation") == []


def test_the_same_run_again_measures_nothing_and_says_the_same(plan, found):
    first = go(plan, found).tuned()
    again = Simulation()
    second = go(plan, found, again).tuned()
    assert again.jobs == []
    assert replace(second, created_at=first.created_at) == first


@pytest.mark.parametrize("purpose", ["race", "ablation"])
def test_a_killed_race_goes_on_without_repeating(plan, found, tmp_path, purpose):
    class Killed(Simulation):
        def __call__(self, job, deadlines, on_phase):
            if len(of(found, purpose)) == 4:
                raise KeyboardInterrupt
            return super().__call__(job, deadlines, on_phase)

    simulation = Simulation(noise=0.003)
    assert go(plan, found, Killed(noise=0.003)).interrupted
    before = found.trials()
    go(plan, found, simulation)
    assert [stored.trial for stored in found.trials()][: len(before)] == [
        stored.trial for stored in before
    ]
    raced = [trial for trial in (stored.trial for stored in found.trials()) if trial.race]
    turns = [(trial.race, trial.round, repr(trial.config)) for trial in raced]
    assert len(turns) == len(set(turns))


def test_race_trials_do_not_enter_the_search(plan, store):
    first = go(plan, store)
    second = go(replace(plan, trials=9), store)
    assert second.trials[: len(first.trials)] == first.trials
    assert len(second.trials) == 9


def test_no_significant_gain_keeps_the_default(plan, store):
    slowing = Space(context(), include=("attention_slicing",))
    run = go(replace(plan, space=slowing), store, Simulation(noise=0.003))
    assert run.tuned().config == {}

    class Flat(Simulation):
        def outcome(self, config, job):
            return super().outcome({}, job)

    flat = go(replace(plan, objective=Objective("session", 5)), store, Flat(noise=0.003))
    assert of(store, "race")
    assert flat.tuned().config == {}
    assert flat.tuned().speedup == 1.0


def test_a_config_that_passes_the_budget_once_never_wins(plan, found):
    class OnceOver(Simulation):
        def outcome(self, config, job):
            found = super().outcome(config, job)
            raced = len(self.jobs) > SEARCHED and config == BEST
            peaks = (replace(found.peaks[0], peak_bytes=9 * GIB),) if raced else found.peaks
            return replace(found, peaks=peaks)

    run = go(replace(plan, memory=Budget(8 * GIB)), found, OnceOver(noise=0.003))
    assert BEST in [trial.config for trial in of(found, "race")]
    assert run.tuned().config != BEST
    assert run.tuned().speedup > 1


def test_what_fails_in_the_race_does_not_win(plan, found):
    def fail(config):
        in_race = bool(of(found, "race"))
        return FailureKind.CRASH if config == BEST and in_race else None

    simulation = Simulation(noise=0.003, failing=fail)
    tuned = go(plan, found, simulation).tuned()
    assert tuned.config != BEST
    assert tuned.speedup > 1


def test_when_all_finalists_fall_the_next_best_are_raced(plan, found):
    def fail(config):
        fast = config.get("engine", "").startswith("compile") and "precision" in config
        return FailureKind.CRASH if fast and len(simulation.jobs) > SEARCHED - 2 else None

    simulation = Simulation(noise=0.003, failing=fail)
    tuned = go(plan, found, simulation).tuned()
    assert tuned.speedup_low > 1
    assert len({trial.race for trial in of(found, "race")}) > 1


def test_a_race_that_was_disturbed_says_so(plan, store):
    class Busy(Simulation):
        """Someone else is at work during the first race trial of each config."""

        def outcome(self, config, job):
            second = [dict(known.config) for known in self.jobs].count(config) == 2
            busy = replace(NEIGHBOUR, complaint="someone" if second else "")
            return replace(super().outcome(config, job), conditions=(busy,))

    space = Space(context(), include=("precision",))
    tuned = go(replace(plan, space=space, trials=2), store, Busy(noise=0.003)).tuned()
    assert {trial.outcome.disturbed for trial in of(store, "search")} == {None}
    for known in (tuned.tuned, tuned.baseline):
        assert known["disturbed"] == "someone (1 x steady), in 1 of 2 rounds"
    assert "*" in drawn(best_table(winners(store.trials())))
    assert tuned.changes[0]["disturbed"] == "someone (1 x steady), in 2 of 4 trials"
    assert "(disturbed)" in drawn(changes_table(tuned))


def test_the_store_tells_the_same_winner_as_the_run(plan, found):
    tuned = go(plan, found).tuned()
    (winner,) = winners(found.trials())
    assert dict(winner.stored.trial.config) == tuned.config
    assert (winner.speedup.ratio, winner.speedup.low) == (tuned.speedup, tuned.speedup_low)
    assert best_json(winner)["latency_s"] == tuned.tuned["latency_s"]


def test_a_short_session_is_won_by_what_starts_fast(plan, found):
    short = go(replace(plan, objective=Objective("session", 2)), found).tuned()
    assert "engine" not in short.config
    long = go(replace(plan, objective=Objective("session", 200)), found).tuned()
    assert long.config == BEST
    assert {stored.objective for stored in found.trials()} >= {
        "session of 2 images",
        "session of 200 images",
    }


def test_memory_is_minimized_among_what_is_no_slower(plan, store):
    tuned = go(replace(plan, objective=Objective("memory")), store).tuned()
    assert tuned.tuned["peak_bytes"] == 2 * GIB
    assert tuned.tuned["latency_s"] <= tuned.baseline["latency_s"]


def test_a_compiled_config_says_from_which_image_on_it_pays(plan, found):
    tuned = go(plan, found, Simulation()).tuned()
    # Twenty seconds to start instead of one, less what the first call saves; 7.3 s a call.
    assert tuned.break_even_images == 2
