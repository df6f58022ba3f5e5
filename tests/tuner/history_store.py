"""A store of several studies, and the commands on a copy of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from search_space.budget import Budget
from search_space.config import BASELINE, Config
from search_space.knob import Tier
from search_space.trial import Failure, FailureKind, Measurement, Peak, Purpose, Trial
from search_space.workload import Workload
from storage import Store
from tests.machines import described
from tuner.cli.main import main

GIB = 2**30
BEGAN = "2026-01-31T12:0{}:00+00:00"
BF16 = Config({"precision": "bf16"})
LAST = Config({"memory_format": "channels_last"})
BOTH = Config({"precision": "bf16", "memory_format": "channels_last"})
SPACE = {"precision": ["fp32", "bf16"], "memory_format": ["contiguous", "channels_last"]}
SMALL = Workload("org/small", "b2:1", 64, 64, steps=4)
OTHER = replace(SMALL, model="org/other", model_fingerprint="b2:2")
NOT_COMPARED = {"floor_psnr_db": 90.0}


def trial(config: Config, latency_s: float, gib: float, psnr_db: float | None = 40.0, **facts):
    steady = (latency_s, latency_s * 1.02, latency_s * 0.98)
    seconds = {"load": (1.0,), "first_call": (3.0,), "steady": steady}
    peak = Peak("host", "steady", "rss", int(gib * GIB))
    fidelity = NOT_COMPARED if psnr_db is None else {"psnr_db": psnr_db, "ssim": 0.99}
    began = BEGAN.format(facts.pop("minute", 0))
    return Trial(config, Measurement(seconds, (peak,), fidelity), 20.0, began, **facts)


def race(config: Config, *latencies_s: float) -> list[Trial]:
    return [
        trial(each, latency_s, 4, purpose=Purpose.RACE, race="the race", round=number)
        for number, own_s in enumerate(latencies_s, 1)
        for each, latency_s in ((BASELINE, 4.0 * own_s / latencies_s[0]), (config, own_s))
    ]


@pytest.fixture(scope="session")
def kept_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials 1 to 10: a study with a race; 11 and 12: a larger size; 13: another machine."""
    failure = Failure(FailureKind.TIMEOUT, "first_call was not done after 9 s", "first_call")
    path = tmp_path_factory.mktemp("kept_history") / "history.db"
    with Store(str(path)) as store:
        here, there = described("cpu"), described("cuda", device_name="NVIDIA H200")
        first = store.open_study(here, SMALL, Budget(5 * GIB, quality=Tier.NEAR), SPACE)
        store.add(first, trial(BASELINE, 4.0, 4, None, purpose=Purpose.BASELINE))
        store.add(first, trial(BF16, 2.0, 2, minute=1))
        store.add(first, replace(trial(LAST, 1.0, 1), outcome=failure))
        store.add(first, trial(BOTH, 1.0, 6))
        for each in race(BF16, 2.0, 2.02, 2.01):
            store.add(first, each)
        second = store.open_study(here, replace(SMALL, height_px=128, width_px=96), Budget(), SPACE)
        store.add(second, trial(BASELINE, 9.0, 5, None, purpose=Purpose.BASELINE))
        store.add(second, trial(LAST, 8.0, 5))
        third = store.open_study(there, OTHER, Budget(), SPACE)
        store.add(third, trial(BASELINE, 0.4, 3, None, purpose=Purpose.BASELINE))
    return path


@pytest.fixture
def history_store(kept_history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Path(shutil.copy(kept_history, tmp_path / "history.db"))


@pytest.fixture
def tune(history_store: Path):
    def tune(*arguments: object, status: int = 0, answer: str | None = None):
        words = [*map(str, arguments), "--store", str(history_store)]
        result = CliRunner().invoke(main, words, input=answer)
        assert result.exit_code == status, result.output
        assert all(len(line) <= 80 for line in result.stdout.splitlines()) or "--json" in words
        return result

    return tune


def numbers(tune, *arguments: object) -> list[int]:
    return [row["number"] for row in json.loads(tune("trials", *arguments, "--json").stdout)]
