"""Records as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

from search_space.budget import Budget
from search_space.space import completed
from search_space.trial import TURN, Failure, Measurement, Trial
from search_space.units import format_duration, format_size
from storage import StoredTrial
from tuner.records.figures import IDENTICAL_DB, figures
from tuner.records.statistics import half_width_s, spread

if TYPE_CHECKING:
    from rich.table import Table

UNKNOWN = "-"


def trial_state(trial: Trial) -> str:
    """``measured``, ``infeasible`` (ran, but beyond the limits of its run) or ``failed``."""
    if trial.measurement is None:
        return "failed"
    return "infeasible" if trial.judged(trial.budget) else "measured"


def trial_json(trial: Trial) -> dict[str, Any]:
    """The stable form of a trial; what is not known is None."""
    failure = trial.judged(trial.budget)
    known = figures(trial)
    facts = (
        {"kind": failure.kind.value, "phase": failure.phase or None, "message": failure.message}
        if failure
        else None
    )
    return {
        "number": trial.number,
        "purpose": trial.purpose,
        "state": trial_state(trial),
        "config": completed(trial.config),
        "latency_s": known["latency_s"],
        "peak_bytes": known["peak_bytes"],
        "host_peak_bytes": known["host_peak_bytes"],
        "psnr_db": known["psnr_db"],
        "ssim": known["ssim"],
        "lpips": known["lpips"],
        "tier": known["tier"],
        "disturbed": known["disturbed"],
        "unstable": known["unstable"],
        "failure": facts,
        "cost_s": trial.cost_s,
    }


def describe(config: Mapping[str, str]) -> str:
    """A config as its differences from the baseline."""
    return ", ".join(f"{name}={value}" for name, value in config.items()) or "baseline"


def seconds(value_s: float | None) -> str:
    """A duration for a table."""
    return UNKNOWN if value_s is None else format_duration(value_s)


def latency(known: Mapping[str, Any]) -> str:
    """The latency among the figures of a trial, with what spoils it."""
    flags = [name for name in ("disturbed", "unstable") if known.get(name)]
    return seconds(known["latency_s"]) + (f" ({', '.join(flags)})" if flags else "")


def size(value_bytes: int | None) -> str:
    """A size for a table."""
    return UNKNOWN if value_bytes is None else format_size(value_bytes)


def limits(budget: Budget) -> str:
    """A budget for a table."""
    if budget.host_bytes is None:
        return size(budget.memory_bytes)
    device = f"{size(budget.memory_bytes)}, " if budget.memory_bytes else ""
    return f"{device}{size(budget.host_bytes)} on the host"


def quality(budget: Budget) -> str:
    """The last tier that a budget allows, for a table."""
    return budget.quality.value if budget.quality else UNKNOWN


def decibel(value_db: float | None) -> str:
    """A PSNR for a table."""
    if value_db is None:
        return UNKNOWN
    return "identical" if value_db >= IDENTICAL_DB else f"{value_db:.1f} dB"


def similarity(value: float | None) -> str:
    """An SSIM for a table."""
    return UNKNOWN if value is None else f"{value:.4f}"


def times(ratio: float | None) -> str:
    """A speed-up for a table."""
    return UNKNOWN if ratio is None else f"{ratio:.2f}x"


def raced_times(ratio: float | None, low: float | None, high: float | None) -> str:
    """A speed-up with its interval for a table, or that there was no race."""
    if ratio is None or low is None or high is None:
        return "not raced"
    return times(ratio) if low == high else f"{times(ratio)} ({low:.2f} to {high:.2f})"


def trials_table(trials: list[Trial]) -> Table:
    """One row a trial."""
    from rich.markup import escape
    from rich.table import Table

    columns = (
        "purpose",
        "config",
        "latency",
        "peak memory",
        "PSNR",
        "SSIM",
        "quality",
        "cost",
        "outcome",
    )
    table = Table("trial", *columns)
    for trial in trials:
        known = figures(trial)
        failure = trial.judged(trial.budget)
        table.add_row(
            str(trial.number),
            trial.purpose,
            describe(trial.config),
            latency(known),
            size(known["peak_bytes"]),
            decibel(known["psnr_db"]),
            similarity(known["ssim"]),
            known["tier"] or UNKNOWN,
            seconds(trial.cost_s),
            escape(f"{failure.kind.value}: {failure.message}") if failure else "measured",
        )
    return table


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
        f"trial {trial.number} of {stored.workload.model}: {describe(trial.config)}",
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
        if condition.kind == TURN:
            continue
        seen.setdefault(condition.kind, []).append(condition.value)
    for kind, values in seen.items():
        yield f"{kind:>12}: " + "  ".join(map(_counted, values))


def _measurement_lines(measured: Measurement, made: str) -> Iterator[str]:
    for metric, value in measured.fidelity.items():
        yield f"{metric:>18}: {value:.6g}"
    yield latency_text(measured.seconds["steady"], made)
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
