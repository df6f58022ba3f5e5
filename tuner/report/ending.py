"""How a run ended, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from search_space.trial import Failure, FailureKind, Purpose, Trial
from search_space.units import format_duration, format_size
from tuner.records.objective import smallest
from tuner.records.plan import Plan
from tuner.records.progress import Ending
from tuner.records.tuned import CONTACT_SHEET
from tuner.report.format import limits
from tuner.result import Result

REASONS = 2
"""The most frequent reasons that a run names: further ones are in ``tune trials``."""

DISTURBED = 0.25
"""From this share of disturbed trials on, the figures of a run are called rough."""


def nothing_tried(plan: Plan, trials: Sequence[Trial], ending: Ending) -> str | None:
    """Why nothing can be said where configs were open and none was tried or reused, or None."""
    if not plan.space.open or any(not trial.config.is_baseline for trial in trials):
        return None
    if ending is Ending.INTERRUPTED:
        return "interrupted before a config was tried: the same command goes on from here"
    if ending is Ending.STORE:
        return "the store failed before a config was tried: the same command goes on from here"
    if ending in (Ending.EXHAUSTED, Ending.CONVERGED):
        return None
    if ending is Ending.TIME:
        limit = format_duration(plan.time_limit_s or 0.0)
        cause, more = f"the time limit of {limit} had passed", "--time-limit"
    else:
        cause, more = f"{plan.trials} trial was all that --trials allowed", "--trials"
    return f"no config was tried beside the baseline: {cause}; give a larger {more}"


def nothing_fits(plan: Plan, candidates: Sequence[Trial]) -> str:
    """Why no config of a run may win."""
    budget = plan.budget
    for trial in candidates:
        failure = trial.judged(budget)
        if failure is not None and failure.kind is FailureKind.TOO_FAR:
            return (
                f"nothing keeps the image: of {trial.config.describe()} {failure.message}; "
                "give a later --quality or other pins"
            )
    smallest_trial = smallest(list(candidates))
    if smallest_trial is None or smallest_trial.measurement is None or not budget.limits_memory:
        return f"no config ran: {frequent_reasons(candidates)}; see 'tune trials'"
    needed = format_size(smallest_trial.measurement.peak_bytes)
    if budget.host_bytes is not None:
        needed += f", on the host {format_size(smallest_trial.measurement.host_peak_bytes)}"
    limit_of_option = {"--memory": budget.memory_bytes, "--host-memory": budget.host_bytes}
    options = " or ".join(option for option, limit in limit_of_option.items() if limit is not None)
    return (
        f"nothing fits {limits(budget)}: the smallest config found needs {needed} "
        f"({smallest_trial.config.describe()}); raise {options}, lower the size or the batch"
    )


def frequent_reasons(trials: Sequence[Trial]) -> str:
    """The most frequent reasons of failures: ``5 x timeout (steady was not done after 9 s)``."""
    failures = [trial.outcome for trial in trials if isinstance(trial.outcome, Failure)]
    kinds = Counter(failure.kind for failure in failures)
    sentences = []
    for kind, count in kinds.most_common(REASONS):
        example = next(failure.message for failure in failures if failure.kind is kind)
        sentences.append(f"{count} x {words(kind)} ({example})")
    return "; ".join(sentences) or "nothing was tried"


def words(kind: FailureKind) -> str:
    """A kind of failure, to be read."""
    return kind.value.replace("_", " ")


def ending_lines(result: Result, plan_trials: int) -> Iterator[str]:
    """What ended the search, what became of the trials, and who won why."""
    yield f"{_ending(result, plan_trials)} {_counts(result)}"
    tried = [trial for trial in result.trials if not trial.config.is_baseline]
    failed = [trial for trial in tried if trial.measurement is None]
    if tried and len(failed) == len(tried):
        subject = "The only config" if len(tried) == 1 else f"All {len(tried)} configs"
        yield f"{subject} failed: {frequent_reasons(failed)}."
        yield "The default is kept, as nothing else ran."
        return
    if not tried:
        yield "There is nothing to choose from here: the default is kept."
        return
    if result.tuned.config.is_baseline:
        yield f"The default is kept: {result.reason}."
    else:
        yield f"Winner: {result.tuned.config.describe()}: {result.reason}."


def _ending(result: Result, trials: int) -> str:
    if result.interrupted and result.ending is Ending.INTERRUPTED:
        return "Interrupted in the search."
    if result.ending is Ending.STORE:
        return "The store failed in the search."
    sentences = {
        Ending.TRIALS: f"The search ended after {trials} trials, as many as asked for.",
        Ending.TIME: f"The time limit ended the search after {len(result.trials)} trials.",
        Ending.CONVERGED: "The search ended because nothing left is worth a trial.",
        Ending.TARGET: "The search ended because the target speed-up was reached.",
        Ending.EXHAUSTED: "The search ended because every config has been tried.",
        Ending.INTERRUPTED: "Interrupted.",
    }
    race = " Interrupted in the race." if result.interrupted else ""
    race = " The store failed in the race." if result.store_error else race
    return sentences[result.ending] + race


def _counts(result: Result) -> str:
    failures = [trial.outcome.kind for trial in result.trials if isinstance(trial.outcome, Failure)]
    kinds = ", ".join(f"{count} {words(kind)}" for kind, count in Counter(failures).most_common())
    measured_count = len(result.trials) - len(failures)
    parts = [
        f"{measured_count} measured",
        f"{len(failures)} failed" + (f" ({kinds})" if kinds else ""),
    ]
    if result.reused:
        parts.append(f"{result.reused} of them reused")
    configs_raced = {trial.config for trial in result.raced if trial.purpose is Purpose.RACE}
    parts.append(f"{len(configs_raced)} configs raced" if configs_raced else "no race")
    return f"Trials: {len(result.trials)}, {', '.join(parts)}."


def disturbance(trials: Sequence[Trial]) -> str | None:
    """One sentence on a machine that was busy while trials were timed, or None."""
    complaints = [trial.outcome.disturbed for trial in trials if trial.outcome.disturbed]
    if not trials or len(complaints) < DISTURBED * len(trials):
        return None
    # Of several complaints the first, without how many samples it is about.
    cause = complaints[0].partition(" (")[0].partition(";")[0]
    count = f"{len(complaints)} of {len(trials)} trials were disturbed"
    return f"Figures are rough: {count}, for instance {cause}."


def next_lines(result: Result) -> Iterator[str]:
    """Where the result lies, and what to type next."""
    stand_in = result.stand_in
    if stand_in is not None:
        yield (
            f"The baseline did not run: images are compared with those of trial "
            f"{stand_in.number}, {stand_in.config.describe()}."
        )
    yield f"Written: {result.folder}"
    sheet = result.folder / CONTACT_SHEET
    if sheet.exists():
        yield f"Compare the images: {sheet}"
    elif not result.tuned.config.is_baseline:
        yield "No contact sheet: the images of this config were not kept."
    if result.interrupted or result.store_error:
        yield "Next: the same command goes on from here."
    else:
        yield f"Next: python {result.folder / 'load.py'} image.png"
