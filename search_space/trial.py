"""A trial: a config and its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean, median

from search_space.budget import UNLIMITED, Budget
from search_space.conditions import OTHERS_CORES as OTHERS_CORES
from search_space.conditions import RECOMPILES as RECOMPILES
from search_space.conditions import Condition as Condition
from search_space.conditions import complaints
from search_space.config import Config
from search_space.errors import StoreError
from search_space.failure import OUT_OF_MEMORY as OUT_OF_MEMORY
from search_space.failure import Failure as Failure
from search_space.failure import FailureKind as FailureKind
from search_space.fidelity import Fidelity, excess, measured_tier
from search_space.knob import Tier
from search_space.proposal import Proposal
from search_space.units import format_size


class Purpose(StrEnum):
    """Why a trial ran."""

    BASELINE = "baseline"
    SEARCH = "search"
    DRIFT = "drift"
    RACE = "race"
    ABLATION = "ablation"

    @property
    def is_searched(self) -> bool:
        """Whether the search learns from it; races and drift measure configs once more."""
        return self in (Purpose.BASELINE, Purpose.SEARCH)


@dataclass(frozen=True)
class Peak:
    """The most memory that one phase of a trial held in one place.

    ``place`` is ``host`` or ``device``; ``source`` names the counter that was read. A peak of any
    other place is for the reader alone, such as ``host_resident``: pages of files included.
    """

    place: str
    phase: str
    source: str
    peak_bytes: int


START_UP = ("load", "record", "calibrate", "engine", "session", "first_call")
"""What a user waits for until the first image; exported and quantized graphs are kept."""

INCUMBENT = "incumbent"
"""The kind of the samples that are the incumbent's calls, beside the steady ones of their turns."""

INCUMBENT_KNOWN = "incumbent_known"
"""The kind of the one sample that is the seconds a call by which the incumbent was known."""


@dataclass(frozen=True)
class Measurement:
    """The raw readings of a trial that ran; statistics are computed on reading.

    ``seconds`` maps a kind (start, load, export, first_call, warm_up, steady, step …) to its
    samples in order, as they were read: those of calls are seconds a call. Each call makes so many
    ``images``; the latency is divided by the ``counted`` ones, which the workload tells. ``turns``
    has the turn of each sample whose calls were interleaved with those of other trials: within a
    round of a race, or with the incumbent's in a search, the calls of one turn lay beside each
    other. ``fidelity`` maps a metric to the
    worst of what was compared; the trial whose output is the reference has its noise floor there.
    ``work`` is what one call asks of the machine and what the machine can do, kept with the
    baseline alone.
    """

    seconds: Mapping[str, tuple[float, ...]]
    peaks: tuple[Peak, ...]
    fidelity: Fidelity = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    work: Mapping[str, float] = field(default_factory=dict)
    images: int = 1
    counted: int = 1
    turns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def disturbed(self) -> str | None:
        """What disturbed the samples that count, or None."""
        return complaints(
            condition
            for condition in self.conditions
            if condition.sample in ("", "steady") and condition.kind != RECOMPILES
        )

    @property
    def unstable(self) -> str | None:
        """How the config still changed while it was timed, or None."""
        return complaints(each for each in self.conditions if each.kind == RECOMPILES)

    @property
    def others_cores(self) -> float:
        """How many cores other processes took on average while calls were timed."""
        of_calls = [condition for condition in self.conditions if condition.sample]
        values = [each.value for each in of_calls if each.kind == OTHERS_CORES]
        return fmean(values) if values else 0.0

    @property
    def psnr_db(self) -> float | None:
        """PSNR to the reference, None where the output was not compared."""
        return self.fidelity.get("psnr_db")

    @property
    def compared(self) -> bool:
        """Whether the output was compared: the reference was not, nor what is meant to differ."""
        return self.psnr_db is not None

    @property
    def tier(self) -> Tier | None:
        """The tier that a compared output was measured to be in; None: further than lossy."""
        return measured_tier(self.fidelity)

    @property
    def tier_name(self) -> str | None:
        """The measured tier, ``other`` beyond lossy, None where nothing was compared."""
        if not self.compared:
            return None
        return self.tier.value if self.tier else "other"

    @property
    def start_up_s(self) -> float:
        """The seconds of loading, of all set-up and of the first call."""
        return sum(sum(self.seconds.get(kind, ())) for kind in START_UP)

    @property
    def latency_s(self) -> float:
        """Seconds a call; with throughput it is seconds an image."""
        return self.call_s / self.counted

    @property
    def image_s(self) -> float:
        """Seconds an image."""
        return self.call_s / self.images

    @property
    def call_s(self) -> float:
        """Seconds a call: the median of the steady ones.

        Beside an incumbent it is the median ratio to its calls times the seconds that this one was
        known by: what slowed both cancels out, and values of one search can be compared.
        """
        ratios = self.ratios
        if not ratios:
            return median(self.seconds["steady"])
        return median(ratios) * self.seconds[INCUMBENT_KNOWN][0]

    @property
    def ratios(self) -> list[float]:
        """Each steady call over the incumbent's call of the same turn."""
        incumbent_s = dict(
            zip(self.turns.get(INCUMBENT, ()), self.seconds.get(INCUMBENT, ()), strict=True)
        )
        own_s = zip(self.turns.get("steady", ()), self.seconds["steady"], strict=False)
        return [call_s / incumbent_s[turn] for turn, call_s in own_s if turn in incumbent_s]

    def turns_s(self, calm: bool = False) -> dict[int, float]:
        """The seconds of each call that was interleaved, or of the calm ones, by the turn."""
        busy = {(each.sample, each.position) for each in self.conditions if each.complaint}
        return {
            turn: self.seconds[kind][position]
            for kind, turns in self.turns.items()
            if kind != INCUMBENT
            for position, turn in enumerate(turns)
            if not (calm and (kind, position) in busy)
        }

    @property
    def peak_bytes(self) -> int:
        """Peak of what ``--memory`` is about: the device's, or the host's without one."""
        places = {peak.place for peak in self.peaks}
        return self._peak_bytes("device" if "device" in places else "host")

    @property
    def host_peak_bytes(self) -> int:
        """Peak of the host's memory."""
        return self._peak_bytes("host")

    def _peak_bytes(self, place: str) -> int:
        return max(peak.peak_bytes for peak in self.peaks if peak.place == place)


@dataclass(frozen=True)
class Trial:
    """A config and its outcome; the store gives the ``number``.

    ``study_id`` is that of the study that asked for it, given by the store as well; ``budget`` is
    that of its run, which was enforced while it ran; ``incumbent`` is the number of the trial whose
    process, still alive, made the calls that this one's were interleaved with.
    A search keeps its ``proposal`` with the trial.
    Trials with the same ``race`` and ``round`` are a block of the race, to be compared in pairs.
    """

    config: Config
    outcome: Measurement | Failure
    cost_s: float
    started_at: str
    number: int = 0
    purpose: Purpose = Purpose.SEARCH
    race: str | None = None
    round: int | None = None
    incumbent: int | None = None
    proposal: Proposal | None = None
    study_id: int | None = field(default=None, compare=False)
    budget: Budget = field(default=UNLIMITED, compare=False)

    @property
    def measurement(self) -> Measurement | None:
        return self.outcome if isinstance(self.outcome, Measurement) else None

    def judged(self, budget: Budget) -> Failure | None:
        """Why this trial is not feasible within ``budget``, or None."""
        if isinstance(self.outcome, Failure):
            return self.outcome
        for limit_bytes, place in ((budget.memory_bytes, ""), (budget.host_bytes, " on the host")):
            if limit_bytes is None:
                continue
            peak_bytes = self.outcome.host_peak_bytes if place else self.outcome.peak_bytes
            if peak_bytes > limit_bytes:
                needed, limit = format_size(peak_bytes), format_size(limit_bytes)
                sentence = f"needs {needed}{place}, the budget is {limit}"
                return Failure(FailureKind.OVER_MEMORY, sentence, peak_bytes=peak_bytes)
        return None if budget.quality is None else too_far(self.outcome, budget.quality)

    def counts(self, budget: Budget) -> bool:
        """Whether this trial says anything about a run within ``budget``.

        What ran out of memory within a smaller one was stopped by that one.
        """
        failure = self.outcome if isinstance(self.outcome, Failure) else None
        ran_out = failure is not None and failure.kind in OUT_OF_MEMORY
        return not ran_out or self.budget.covers(budget)

    def exceeds(self, budget: Budget) -> bool:
        """Whether the config has needed more memory: once rules it out."""
        failure = self.judged(budget)
        kinds = (FailureKind.OVER_MEMORY, *OUT_OF_MEMORY)
        return failure is not None and failure.kind in kinds and self.counts(budget)


def check_whole(trial: Trial) -> Trial:
    """The trial; raises StoreError where rows of it were deleted, as no run does."""
    measurement = trial.measurement
    if measurement is not None:
        places = {peak.place for peak in measurement.peaks}
        if not measurement.seconds.get("steady") or "host" not in places:
            raise StoreError(
                f"trial {trial.number} has no calls or no peak of memory: the store is damaged, "
                "put back a copy"
            )
    return trial


def too_far(measurement: Measurement, quality: Tier) -> Failure | None:
    """Why the output is further from the reference than ``quality`` allows, or None."""
    if not measurement.compared or excess(measurement.fidelity, quality) <= 0:
        return None
    tier = measurement.tier
    sentence = f"the image is {tier.value if tier else 'further than lossy'}, not {quality.value}"
    metrics = f"PSNR {measurement.fidelity['psnr_db']:.1f} dB"
    if "ssim" in measurement.fidelity:
        metrics += f", SSIM {measurement.fidelity['ssim']:.3f}"
    if "lpips" in measurement.fidelity:
        metrics += f", LPIPS {measurement.fidelity['lpips']:.3f}"
    return Failure(FailureKind.TOO_FAR, f"{sentence}: {metrics}", peak_bytes=measurement.peak_bytes)
