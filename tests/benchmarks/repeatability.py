"""The same config in many trials: how far the reported medians lie apart.

    python -m tests.benchmarks.repeatability [--trials 10] [--neighbour] [--choose KNOB=CHOICE]

With ``--neighbour`` every second trial has a process beside it that keeps one core busy, or the GPU
where the trials have one, for a while or throughout. Then each of these trials must be flagged,
must have repeated calls, or must report what the quiet ones do; one that does neither is printed as
silently wrong.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import psutil

from search_space.trial import Trial
from tests.benchmarks.one_config import one_config, parser, say, summary, tried

WRONG = 0.03
"""A median further from that of the quiet trials than this is wrong."""

BUSY = """
import time
print("ready", flush=True)
end = time.time() + {busy_s}
while time.time() < end: pass
"""

BUSY_GPU = """
import time, torch
left = torch.randn(4096, 4096, device="cuda")
left @ left
torch.cuda.synchronize()
print("ready", flush=True)
end = time.time() + {busy_s}
while time.time() < end:
    left @ left
    torch.cuda.synchronize()
"""


@contextmanager
def neighbour(device: str, busy_s: float) -> Iterator[None]:
    """A process at work that is none of ours: the shell that starts it goes at once."""
    code = (BUSY_GPU if device == "cuda" else BUSY).format(busy_s=busy_s)
    with tempfile.NamedTemporaryFile("r") as said:
        begin = '"$0" -c "$1" >"$2" 2>/dev/null & echo $!'
        shell = ["sh", "-c", begin, sys.executable, code, said.name]
        process = psutil.Process(int(subprocess.check_output(shell, text=True)))
        try:
            while not said.readline():
                if not process.is_running():
                    sys.exit("the neighbour did not start")
                time.sleep(0.1)
            yield
        finally:
            if process.is_running():
                process.kill()


def told(trial: Trial) -> dict[str, object]:
    """What a trial reports."""
    measured = trial.measurement
    assert measured is not None

    def seen(kind: str) -> list[float]:
        found = [seen for seen in measured.conditions if seen.sample == "steady"]
        return [seen.value for seen in found if seen.kind == kind]

    return {
        "median_s": round(measured.latency_s, 4),
        "steady_s": [round(sample_s, 4) for sample_s in measured.seconds["steady"]],
        "not_counted": len(measured.seconds.get("disturbed", ())),
        "disturbed": measured.disturbed,
        "unstable": measured.unstable,
        "most_others_cores": round(max(seen("others_cores"), default=0.0), 3),
        "gpu_others": max(seen("gpu_others"), default=None),
        "sm_clock_mhz": min(seen("gpu_sm_clock_mhz"), default=None),
        "page_faults": (seen("page_faults") or [None])[-1],
        "cost_s": round(trial.cost_s, 2),
    }


def main() -> None:
    """Try the config again and again."""
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=10)
    options.add_argument("--neighbour", action="store_true")
    options.add_argument("--busy-s", type=float, nargs="*", default=[20.0, 3600.0])
    asked = options.parse_args()
    quiet: list[Trial] = []
    noisy: list[Trial] = []
    with one_config(asked) as (children, job):
        for number in range(asked.trials):
            trial = tried(children, job)
            quiet.append(trial)
            say({"trial": number, **told(trial)})
            if asked.neighbour:
                busy_s = asked.busy_s[number % len(asked.busy_s)]
                with neighbour(asked.device, busy_s):
                    trial = tried(children, job)
                noisy.append(trial)
                say({"trial": number, "neighbour_s": busy_s, **told(trial)})
    say({"quiet": summary(medians_s(quiet))})
    trusted = [trial for trial in quiet if not flagged(trial)]
    if trusted:
        say({"not flagged": summary(medians_s(trusted))})
    if noisy:
        true_s = median(medians_s(trusted or quiet))
        wrong = [t for t in noisy if not flagged(t) and far(t, true_s)]
        say(
            {"noisy": len(noisy), "flagged": sum(map(flagged, noisy)), "silently_wrong": len(wrong)}
        )


def medians_s(trials: list[Trial]) -> list[float]:
    """What the trials report, in seconds."""
    return [trial.measurement.latency_s for trial in trials if trial.measurement]


def flagged(trial: Trial) -> bool:
    """Whether the trial says itself that it was disturbed."""
    return trial.outcome.disturbed is not None


def far(trial: Trial, true_s: float) -> bool:
    """Whether the median is not that of the quiet trials."""
    assert trial.measurement is not None
    return abs(trial.measurement.latency_s / true_s - 1) > WRONG


if __name__ == "__main__":
    main()
