"""All that is kept of one trial, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from search_space.trial import Failure, Measurement, Trial
from search_space.units import format_duration, format_size
from storage import StoredTrial
from tuner.records.figures import figures
from tuner.records.statistics import half_width_s, spread
from tuner.report.format import UNKNOWN, limits, quality
from tuner.report.trials import trial_json, trial_state


def stored_json(stored: StoredTrial) -> dict[str, Any]:
    """All that is kept of a trial."""
    trial = stored.trial
    measured = trial.measurement
    return {
        **trial_json(trial),
        "race": trial.race,
        "round": trial.round,
        "started_at": trial.started_at,
        "memory_bytes": trial.budget.memory_bytes,
        "host_memory_bytes": trial.budget.host_bytes,
        "quality": trial.budget.quality,
        "fidelity": dict(measured.fidelity) if measured else None,
        "seconds": {kind: list(samples) for kind, samples in measured.seconds.items()}
        if measured
        else None,
        "turns": {kind: list(turns) for kind, turns in measured.turns.items()}
        if measured
        else None,
        "images": measured.images if measured else None,
        "peaks": [asdict(peak) for peak in measured.peaks] if measured else None,
        "conditions": [asdict(condition) for condition in trial.outcome.conditions],
        "work": dict(measured.work) if measured else None,
        "log": trial.outcome.log if isinstance(trial.outcome, Failure) else None,
        "workload": asdict(stored.workload),
        "machine": asdict(stored.machine),
    }


def stored_text(stored: StoredTrial) -> str:
    """All that is kept of a trial, to be read."""
    trial = stored.trial
    lines = [
        f"trial {trial.number} of {stored.workload.model}: {trial.config.describe()}",
        f"on {stored.machine.device_name} ({stored.machine.device}), {trial.started_at}",
        f"state {trial_state(trial)}, cost {format_duration(trial.cost_s)}, "
        f"budget {limits(trial.budget)}, quality {quality(trial.budget)}",
        *_failure_lines(trial),
        *_condition_lines(trial),
    ]
    if trial.measurement is not None:
        made = "an image" if stored.workload.throughput else "a call"
        lines.append(f"measured quality {figures(trial)['tier'] or UNKNOWN}")
        lines += _measurement_lines(trial.measurement, made)
    return "\n".join(lines)


def _failure_lines(trial: Trial) -> Iterator[str]:
    failure = trial.judged(trial.budget)
    if failure is not None:
        where = f" in {failure.phase}" if failure.phase else ""
        yield f"{failure.kind.value}{where}: {failure.message}"
        yield from (f"  | {line}" for line in failure.log.splitlines())


def _condition_lines(trial: Trial) -> Iterator[str]:
    for name in ("disturbed", "unstable"):
        if complaint := getattr(trial.outcome, name):
            yield f"{name}: {complaint}"
    seen: dict[str, list[float]] = {}
    for condition in trial.outcome.conditions:
        seen.setdefault(condition.kind, []).append(condition.value)
    for kind, values in seen.items():
        yield f"{kind:>12}: " + "  ".join(map(_counted, values))


def _measurement_lines(measured: Measurement, made: str) -> Iterator[str]:
    for metric, value in measured.fidelity.items():
        yield f"{metric:>18}: {value:.6g}"
    counted_s = [sample_s / measured.counted for sample_s in measured.seconds["steady"]]
    yield latency_text(counted_s, made)
    for kind, samples in measured.seconds.items():
        yield f"{kind:>12}: " + "  ".join(format_duration(s) for s in samples)
    for name, value in measured.work.items():
        yield f"{name:>12}: {value:.4g}"
    for peak in measured.peaks:
        held = f"{format_size(peak.peak_bytes):>10}  {peak.place} ({peak.source})"
        yield f"{peak.phase:>12}: {held}"


def _counted(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def latency_text(steady_s: Sequence[float], made: str = "a call") -> str:
    """The median with its interval and the scatter of the samples, in one line."""
    middle_s = median(steady_s)
    told = f"latency {format_duration(middle_s)} {made}"
    if len(steady_s) < 2:
        return f"{told}, measured once"
    width = f"{format_duration(half_width_s(steady_s))} (95 %)"
    return f"{told} ± {width}, scatter {100 * spread(steady_s) / middle_s:.1f} %"
