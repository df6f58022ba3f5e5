"""How often the race picks right, and how often its interval covers the truth.

    python -m tests.benchmarks.race_simulation [--runs 2000]

Candidates whose latency is known are searched, and the best are raced as in a run. Noise is as
large between processes as between the calls of one, and a round has a shift of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy

from search_space.config import BASELINE, Config
from search_space.trial import Measurement, Peak, Trial
from tuner.race.race import Race, Standing, run_race
from tuner.records.rules import FINALISTS, REACH

CANDIDATES = 40
ROUNDS = 3
SAMPLES = 3
SPREAD = 0.15
"""Of the log of the candidates' latencies above the best of them."""
ROUND_SHIFT = 0.01
NEAR = 0.01
LIKE = {"psnr_db": 40.0}
"""As like the baseline's image as every other: a tie is told by something else."""


@dataclass(frozen=True)
class Outcome:
    """Shares of the runs.

    ``near`` picked within 1 % of the best, ``kept`` kept the default, ``covered`` told an interval
    that holds the true speed-up, which is 1 where the default is kept. ``reported`` is the same
    share among those that did not keep it.
    """

    near: float
    kept: float
    covered: float
    reported: float
    trials: float
    """A race, on average."""


def simulate(noise: float, gain: float, runs: int, seed: int = 0) -> Outcome:
    """Search and race ``runs`` times; the best candidate is ``gain`` times as fast or less."""
    generator = numpy.random.default_rng(seed)
    found = [one_run(noise, gain, generator) for _ in range(runs)]
    near, covered, trials = zip(*found, strict=True)
    told = [right for right in covered if right is not None]
    kept = runs - len(told)
    return Outcome(
        sum(near) / runs,
        kept / runs,
        (kept + sum(told)) / runs,
        sum(told) / len(told) if told else 1.0,
        sum(trials) / runs,
    )


def one_run(
    noise: float, gain: float, generator: numpy.random.Generator
) -> tuple[bool, bool | None, int]:
    """Near the best, the interval right (None where the default is kept), trials of the race."""
    above = numpy.abs(generator.normal(0, SPREAD, CANDIDATES))
    latency_s = {Config({"knob": str(i)}): numpy.exp(x) / gain for i, x in enumerate(above)}
    latency_s[BASELINE] = 1.0

    def measure(one: Config, number: int = 0, shift: float = 0.0) -> Trial:
        process = generator.normal(0, noise)
        calls = numpy.exp(generator.normal(0, noise, SAMPLES) + process + shift)
        seconds = {"steady": tuple(latency_s[one] * calls), "first_call": (2 * latency_s[one],)}
        measured = Measurement(seconds, (Peak("host", "steady", "simulated", 2**30),), LIKE)
        return Trial(one, measured, 1.0, "2026-01-01", race="race", round=number)

    searched = {one: measure(one) for one in latency_s if one != BASELINE}
    order = sorted(searched, key=lambda one: median_s(searched[one]))
    reach_s = REACH * median_s(searched[order[0]])
    finalists = [one for one in order[:FINALISTS] if median_s(searched[one]) <= reach_s]
    race = Race((BASELINE, *finalists), ROUNDS)
    trials = raced(race, measure, generator)
    standing = Standing(race, trials)
    verdict = standing.verdict({**searched, BASELINE: measure(BASELINE)})
    assert verdict is not None
    winner = verdict.winner
    speedup = standing.speedup(winner)
    assert speedup is not None
    true = latency_s[BASELINE] / latency_s[winner]
    covered = None if winner == BASELINE else bool(speedup.low <= true <= speedup.high)
    near = latency_s[winner] <= (1 + NEAR) * min(latency_s.values())
    return bool(near), covered, len(trials)


def raced(
    race: Race, measure: Callable[..., Trial], generator: numpy.random.Generator
) -> list[Trial]:
    """The trials of a whole race."""
    trials: list[Trial] = []
    shifts = generator.normal(0, ROUND_SHIFT, race.last_round() + 1)
    for due, number in run_race(race, trials):
        trials += [measure(one, number, float(shifts[number])) for one in due]
    return trials


def median_s(trial: Trial) -> float:
    """The latency of a trial that was measured."""
    assert trial.measurement is not None
    return trial.measurement.latency_s


def main() -> None:
    """Print a row for each noise and each gain of the best candidate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    print(f"{runs} runs each, {CANDIDATES} candidates, {ROUNDS} rounds or more")
    head = ("noise", "best gain", "within 1 % of the best", "default kept", "interval holds")
    print("|", " | ".join((*head, "of reported gains", "trials a race")), "|")
    print("|", " | ".join(["---"] * 7), "|")
    for noise in (0.01, 0.02, 0.05):
        for gain in (2.0, 1.05):
            found = simulate(noise, gain, runs)
            shares = (found.near, found.kept, found.covered, found.reported)
            cells = [f"{noise:.0%}", f"{gain:.2f}", *(f"{share:.1%}" for share in shares)]
            print("|", " | ".join([*cells, f"{found.trials:.1f}"]), "|", flush=True)


if __name__ == "__main__":
    main()
