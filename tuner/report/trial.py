"""All that is kept of one trial, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.console import Group
from rich.text import Text

from search_space.budget import UNLIMITED
from search_space.proposal import Proposal
from search_space.trial import INCUMBENT_KNOWN, Failure, Measurement, Trial
from search_space.units import format_duration, format_size
from storage import StoredTrial
from tuner.history.comparison import Comparison
from tuner.records.costs import spent_s
from tuner.records.figures import tier_name
from tuner.records.statistics import half_width_s, spread
from tuner.report.format import (
    UNKNOWN,
    about,
    counted,
    decibel,
    digits,
    limits,
    moment,
    quality,
    raced_times,
    seconds,
    spent_text,
    times,
)
from tuner.report.listing import GAP, GLUE, Listing, Row, apart, titled
from tuner.report.trials import purpose_text, trial_json, trial_state

METRICS = {
    "psnr_db": "PSNR",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "latent_error": "latent error",
    "prompts": "prompts compared",
    "floor_psnr_db": "noise floor PSNR",
    "floor_ssim": "noise floor SSIM",
    "floor_lpips": "noise floor LPIPS",
    "floor_latent_error": "noise floor latent error",
}
"""What each metric of the fidelity is called, in the order in which they are told."""

UNITS = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"))
"""The first in which the largest of some samples is not below 1."""


def stored_json(stored: StoredTrial) -> dict[str, Any]:
    """Everything in the store about a trial."""
    trial = stored.trial
    measurement = trial.measurement
    return {
        **trial_json(trial),
        "race": trial.race,
        "round": trial.round,
        "proposal": proposal_json(trial.proposal) if trial.proposal else None,
        "started_at": trial.started_at,
        "memory_bytes": trial.budget.memory_bytes,
        "host_memory_bytes": trial.budget.host_bytes,
        "quality": trial.budget.quality,
        "fidelity": dict(measurement.fidelity) if measurement else None,
        "seconds": {kind: list(samples) for kind, samples in measurement.seconds.items()}
        if measurement
        else None,
        "turns": {kind: list(turns) for kind, turns in measurement.turns.items()}
        if measurement
        else None,
        "incumbent": trial.incumbent,
        "spent_s": spent_s([trial]),
        "images": measurement.images if measurement else None,
        "peaks": [asdict(peak) for peak in measurement.peaks] if measurement else None,
        "conditions": [asdict(condition) for condition in trial.outcome.conditions],
        "work": dict(measurement.work) if measurement else None,
        "log": trial.outcome.log if isinstance(trial.outcome, Failure) else None,
        "workload": asdict(stored.workload),
        "machine": asdict(stored.machine),
    }


def proposal_json(proposal: Proposal) -> dict[str, Any]:
    """Why a search proposed the trial, and what it expected, None where nothing was."""
    expected = asdict(proposal.expected) if proposal.expected else None
    return {"reason": proposal.reason.value, "expected": expected}


def stored_text(stored: StoredTrial, comparison: Comparison | None = None) -> Group:
    """Everything in the store about a trial, as text: first how fast its config is."""
    trial = stored.trial
    facts = Listing(tuple(_facts(stored, comparison)))
    return apart([titled(f"Trial {trial.number}: {purpose_text(trial)}", facts), *_parts(trial)])


def _facts(stored: StoredTrial, comparison: Comparison | None) -> Iterator[Row]:
    trial = stored.trial
    measurement = trial.measurement
    yield Row(("config",), trial.config.describe())
    if measurement is not None:
        unit = "an image" if stored.workload.throughput else "a call"
        counted_s = [sample_s / measurement.counted for sample_s in measurement.seconds["steady"]]
        yield Row(("latency",), latency_text(counted_s, unit))
        if ratios := measurement.ratios:
            yield Row(("compared",), beside_text(trial, measurement, ratios))
    if comparison is not None:
        yield Row(("speed-up",), comparison_text(comparison))
    if measurement is not None:
        yield Row(("peak memory",), peak_text(measurement))
        if measurement.fidelity:
            yield Row(("fidelity",), fidelity_text(measurement))
    failure = trial.judged(trial.budget)
    if failure is not None:
        where = f" in {failure.phase}" if failure.phase else ""
        yield Row(("failure",), f"{failure.kind.value}{where}: {failure.message}")
    for name in ("disturbed", "unstable"):
        if complaint := getattr(trial.outcome, name):
            yield Row((name,), complaint)
    if trial.proposal is not None:
        yield Row(("proposed",), trial.proposal.describe())
    yield Row(("state",), f"{trial_state(trial)}, took {format_duration(trial.cost_s)}")
    if measurement is not None:
        yield Row(("cost",), spent_text(spent_s([trial])))
    if trial.budget != UNLIMITED:
        allowed = f"quality {quality(trial.budget)}"
        memory = f"memory {limits(trial.budget)}, " if limits(trial.budget) != UNKNOWN else ""
        yield Row(("within",), memory + allowed)
    yield Row(("workload",), about(stored.workload, stored.machine))
    yield Row(("started",), moment(trial.started_at))


def beside_text(trial: Trial, measurement: Measurement, ratios: list[float]) -> str:
    """The latency that a search goes by, from the calls of the incumbent beside its own."""
    known_s = measurement.seconds[INCUMBENT_KNOWN][0]
    value = f"{seconds(measurement.latency_s)}: {median(ratios):.3f} times the"
    return f"{value} {seconds(known_s)} of trial {trial.incumbent}, by calls beside its own"


def comparison_text(comparison: Comparison) -> str:
    """How many times as fast as the default, and by which comparison."""
    speedup = comparison.speedup
    if comparison.rounds:
        interval = raced_times(speedup.ratio, speedup.low, speedup.high)
        calls = " of interleaved calls" if comparison.interleaved else ""
        rounds = counted(comparison.rounds, "round")
        return f"{interval} over the default, raced in {rounds}{calls}"
    default = f"the default of trial {comparison.baseline.number}"
    return f"{times(speedup.ratio)} over {default}, by one trial of each: not raced"


def peak_text(measurement: Measurement) -> str:
    """The peak of the device, and of the host where that is another."""
    peak, host = measurement.peak_bytes, measurement.host_peak_bytes
    both_places = f" on the device, {format_size(host)} on the host" if host != peak else ""
    return f"{format_size(peak)}{both_places}"


def fidelity_text(measurement: Measurement) -> str:
    """The tier of a compared output with its metrics; of a reference its noise floor."""
    names = [name for name in METRICS if name in measurement.fidelity]
    metrics = [
        f"{METRICS.get(name, name)} {_metric(name, measurement.fidelity[name])}".replace(" ", GLUE)
        for name in dict.fromkeys((*names, *measurement.fidelity))
        if name.startswith("floor_") != measurement.compared
    ]
    tier = (tier_name(measurement) or UNKNOWN) if measurement.compared else "this is the reference"
    return f"{tier}: {', '.join(metrics)}"


def _metric(name: str, value: float) -> str:
    return decibel(value) if name.endswith("_db") else f"{value:.3g}"


def _parts(trial: Trial) -> Iterator[Group]:
    measurement = trial.measurement
    if measurement is not None:
        # What counts comes first, then what a call is made of and how the trial came to it.
        kinds = sorted(measurement.seconds.items(), key=lambda kind: kind[0] != "steady")
        samples_in_units = ((kind, *in_one_unit(samples)) for kind, samples in kinds)
        rows = tuple(Row((kind, unit), values) for kind, unit, values in samples_in_units)
        yield titled("Samples", Listing(rows))
        yield titled("Peaks", _peaks(measurement))
    if condition_rows := _conditions(trial):
        yield titled("Conditions", Listing(condition_rows))
    if measurement is not None and measurement.work:
        work_rows = tuple(Row((name, digits(value))) for name, value in measurement.work.items())
        yield titled("Work of a call, and what the machine can do", Listing(work_rows))
    if isinstance(trial.outcome, Failure) and trial.outcome.log:
        yield titled("Log", Text(trial.outcome.log.rstrip()))


def in_one_unit(samples_s: Sequence[float]) -> tuple[str, str]:
    """The unit of the samples, and the samples below each other."""
    largest_s = max(samples_s)
    factor, unit = next(((f, u) for f, u in UNITS if largest_s * f >= 0.9995), UNITS[-1])
    return unit, aligned([_three_digits(sample_s * factor) for sample_s in samples_s])


def aligned(values: Sequence[str]) -> str:
    """Values of one width, to be broken between any two of them."""
    width = max(map(len, values))
    return GAP.join(GLUE * (width - len(value)) + value for value in values)


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _peaks(measurement: Measurement) -> Listing:
    places = tuple(dict.fromkeys(peak.place for peak in measurement.peaks))
    phases = dict.fromkeys(peak.phase for peak in measurement.peaks)
    sizes = {(peak.phase, peak.place): format_size(peak.peak_bytes) for peak in measurement.peaks}
    rows = tuple(
        Row((phase, *(sizes.get((phase, place), UNKNOWN) for place in places))) for phase in phases
    )
    sources: dict[str, dict[str, None]] = {place: {} for place in places}
    for peak in measurement.peaks:
        sources[peak.place][peak.source] = None
    sources_text = (f"{place} by {' or '.join(names)}" for place, names in sources.items())
    return Listing(rows, ("phase", *places), places, f"Read: {'; '.join(sources_text)}.")


def _conditions(trial: Trial) -> tuple[Row, ...]:
    values_by_kind: dict[str, list[float]] = {}
    for condition in trial.outcome.conditions:
        values_by_kind.setdefault(condition.kind, []).append(condition.value)
    return tuple(_condition(kind, values) for kind, values in values_by_kind.items())


def _condition(kind: str, values: Sequence[float]) -> Row:
    if kind.endswith("_s"):
        unit, text = in_one_unit(values)
        return Row((kind, unit), text)
    return Row((kind, ""), aligned(list(map(_three_digits, values))))


def latency_text(steady_s: Sequence[float], unit: str = "a call") -> str:
    """The median with its interval and the scatter of the samples, in one line."""
    middle_s = median(steady_s)
    text = f"{format_duration(middle_s)} {unit}"
    if len(steady_s) < 2:
        return f"{text}, measured once"
    width = f"{format_duration(half_width_s(steady_s))} (95 %)"
    return f"{text} ± {width}, scatter {100 * spread(steady_s) / middle_s:.1f} %"
