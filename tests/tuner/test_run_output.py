"""What a run says of itself: the plan, a line a trial, what ended it and what comes next."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from search_space.budget import UNLIMITED, Budget
from search_space.catalog import all_knobs
from search_space.config import BASELINE, Config
from search_space.space import Space
from search_space.trial import Failure, FailureKind, Measurement, Peak, Trial
from tests.tuner.simulation import FACTORS, Simulation, context, plan
from tuner.measuring.noise.neighbours import busy
from tuner.records.progress import Ending
from tuner.report.ending import disturbance, ending_lines, next_lines
from tuner.report.notes import difference, notes
from tuner.report.progress import ConsoleProgress
from tuner.report.trial_line import NARROWEST, heading, shortened, trial_line
from tuner.run import NothingFound, Run

pytestmark = pytest.mark.heavy


def shown(planned, store, simulation=None):
    """A run, and all that it has printed in 80 columns."""
    printed = io.StringIO()
    run = Run(planned)
    with ConsoleProgress(Console(file=printed, width=NARROWEST)) as progress:
        run.go(store, simulation or Simulation(), progress)
    return run, printed.getvalue()


def ended(run, tmp_path):
    return " ".join(ending_lines(run.result(tmp_path / "tuned"), run.plan.trials))


def test_a_run_says_its_plan_then_a_line_a_trial_in_80_columns(tmp_path, store):
    run, printed = shown(replace(plan(tmp_path, trials=4), race_rounds=2), store)
    lines = printed.splitlines()
    assert lines[0].startswith("Plan: the baseline, then 3 of ")
    assert lines[1] == "      a race of the best against the baseline"
    assert lines[2] == "      what each change of the winner brings"
    assert heading() in lines
    assert [line.split()[0] for line in lines if "/4 " in line] == ["1/4", "2/4", "3/4", "4/4"]
    (to_come,) = [
        line for line in lines if line.startswith("At the baseline's cost a trial: about")
    ]
    assert "of search, up to " in to_come
    assert any(line.startswith("race 1 ") for line in lines)
    assert max(map(len, lines)) <= NARROWEST
    assert len(run.trials) == 4


def test_the_end_says_what_ended_the_search_what_became_of_the_trials_and_why_who_won(
    tmp_path, store
):
    simulation = Simulation(noise=0.003, failing=lambda config: crash_if(config, "attention"))
    run, _ = shown(replace(plan(tmp_path, trials=9), race_rounds=2), store, simulation)
    said = ended(run, tmp_path)
    assert "The search ended after 9 trials, as many as asked for." in said
    assert "failed (" in said
    assert "crash" in said
    assert "configs raced" in said
    assert f"Winner: {run.tuned().config.describe()}: " in said


def crash_if(config, knob):
    return FailureKind.CRASH if knob in config else None


def test_the_next_command_is_the_loader(tmp_path, store):
    run, _ = shown(plan(tmp_path, trials=4), store)
    result = run.result(tmp_path / "tuned")
    said = list(next_lines(result))
    assert said[0] == f"Written: {tmp_path / 'tuned'}"
    assert said[-1] == f"Next: python {tmp_path / 'tuned' / 'load.py'} image.png"
    assert (tmp_path / "tuned" / "load.py").exists()


@pytest.mark.parametrize(
    ("asked", "cause"),
    [
        ({"time_limit_s": 0.0001}, "the time limit of 0.1 ms had passed; give a larger"),
        ({"trials": 1}, "1 trial was all that --trials allowed; give a larger --trials"),
    ],
)
def test_a_run_that_tried_nothing_says_so_and_writes_nothing(tmp_path, store, asked, cause):
    run, printed = shown(plan(tmp_path, **asked), store)
    alone = "Plan: the baseline alone: --trials 1 leaves none of 67 configs to try." in printed
    assert alone == (asked == {"trials": 1})
    with pytest.raises(NothingFound, match="no config was tried beside the baseline") as caught:
        run.result(tmp_path / "tuned")
    assert cause in str(caught.value)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "tuned").exists()


def test_with_reused_trials_a_run_without_time_still_has_a_winner(tmp_path, store):
    shown(plan(tmp_path, trials=4), store)
    run, printed = shown(plan(tmp_path, trials=9, time_limit_s=0.0001), store)
    assert "Reused from earlier runs: 4 trials; best so far: " in printed
    assert max(map(len, printed.splitlines())) <= NARROWEST
    assert run.ending is Ending.TIME
    assert "The time limit ended the search after 4 trials." in ended(run, tmp_path)
    assert "4 of them reused" in ended(run, tmp_path)


def test_with_nothing_to_choose_from_the_default_is_kept(tmp_path, store):
    space = Space(context(), include=("vae_slicing",))
    run, printed = shown(replace(plan(tmp_path), space=space), store)
    assert printed.startswith("Plan: measure the baseline. There is nothing to choose from.")
    result = run.result(tmp_path / "tuned")
    assert result.tuned.config.is_baseline
    assert "There is nothing to choose from here: the default is kept." in ended(run, tmp_path)
    assert (tmp_path / "tuned" / "config.json").exists()


def test_a_run_in_which_every_config_failed_says_so_with_the_most_frequent_reasons(tmp_path, store):
    def fail(config):
        if not config:
            return None
        return FailureKind.TIMEOUT if "precision" in config else FailureKind.CRASH

    run, printed = shown(plan(tmp_path, trials=6), store, Simulation(failing=fail))
    said = ended(run, tmp_path)
    assert "All 5 configs failed: " in said
    assert "x timeout (a timeout was asked for)" in said
    assert "x crash (a crash was asked for)" in said
    assert "The default is kept, as nothing else ran." in said
    assert "timeout, 1 s" in printed


def test_every_config_fits_the_column():
    for knob in all_knobs():
        for choice in knob.values[1:]:
            for beside in ({}, {"precision": "bf16"}, {"precision": "bf16", "batch": "times-2"}):
                config = Config({**beside, knob.name: choice})
                failed = Trial(config, Failure(FailureKind.DEVICE_OUT_OF_MEMORY, "x"), 754.0, "")
                assert len(trial_line("100/200", failed, UNLIMITED, None)) <= NARROWEST
                seconds = {"steady": (754.0,)}
                measured = Measurement(seconds, (Peak("host", "steady", "x", 139 * 2**30),))
                line = trial_line("100/200", Trial(config, measured, 754.0, ""), UNLIMITED, 12.34)
                assert len(line) <= NARROWEST


def test_a_config_is_shortened_at_a_change():
    config = Config({"vae_tiling": "on", "precision": "bf16", "memory_format": "channels_last"})
    whole = "memory_format=channels_last, precision=bf16, vae_tiling=on"
    assert shortened(config, 80) == config.describe() == whole
    assert shortened(config, 36) == "channels_last, bf16, vae_tiling=on"
    assert shortened(config, 30) == "channels_last, bf16 +1"
    assert shortened(config, 18) == "channels_last +2"
    assert shortened(BASELINE, 8) == "baseline"


def test_a_trial_over_the_budget_says_so_in_its_line():
    measured = Measurement({"steady": (1.0,)}, (Peak("host", "steady", "x", 2**33),))
    trial = Trial(Config({"precision": "bf16"}), measured, 3.0, "")
    assert trial_line("2/9", trial, Budget(2**32), 2.0).endswith("over memory, 3 s")


def test_a_machine_that_differs_is_named_by_what_differs(tmp_path, store):
    here = context().machine
    with_one = replace(here, threads=1)
    described = replace(here, threads=2)
    assert difference(with_one, described) == "with 1 thread; this is 2"
    newer = replace(described, packages={"torch": "2.13.0"})
    older = replace(described, packages={"torch": "2.12.0"})
    assert difference(older, newer) == "with torch 2.12.0; this is 2.13.0"
    assert difference(replace(here, device_name="another"), here) == "on another (cpu)"


def test_trials_of_another_machine_are_told_before_a_run(tmp_path, store):
    def on(threads):
        setting = replace(context(), machine=replace(context().machine, threads=threads))
        return replace(plan(tmp_path, trials=3), space=Space(setting, include=tuple(FACTORS)))

    shown(on(1), store)
    (note,) = [line for line in notes(on(2), store) if "measured" in line]
    assert note == ("3 trials of this model were measured with 1 thread; this is 2: measured anew.")
    assert not any("measured anew" in line for line in notes(on(1), store))


def test_other_processes_are_told_in_one_line():
    line = busy(look_s=0.1)
    ends = ("cores: figures are rough.", "and no speed-up can be told until they end.")
    assert line is None or line.endswith(ends)


def test_a_disturbed_run_is_told_once(tmp_path, store):
    run, _ = shown(plan(tmp_path, trials=3), store)
    assert disturbance(run.trials) is None
    spoiled = [replace(trial, outcome=disturbed(trial)) for trial in run.trials]
    assert disturbance(spoiled) == (
        "Figures are rough: 3 of 3 trials were disturbed, for instance others took 1.8 cores."
    )


def disturbed(trial):
    from search_space.trial import Condition

    seen = Condition("others_cores", 1.8, "others took 1.8 cores", "steady", 0)
    return replace(trial.outcome, conditions=(seen,))


def test_a_trial_that_an_interrupt_has_cut_off_from_the_run_counts(tmp_path, store):
    class InterruptedAtOnce(ConsoleProgress):
        def finished(self, trial):
            super().finished(trial)
            if not trial.config.is_baseline:
                raise KeyboardInterrupt

    run = Run(plan(tmp_path, trials=9))
    with InterruptedAtOnce(Console(file=io.StringIO())) as progress:
        run.go(store, Simulation(), progress)
    assert run.interrupted
    assert len(run.trials) == len(store.trials()) == 2
    assert "Interrupted in the search." in ended(run, tmp_path)
