"""Every choice, and pairs of them, on a real GPU with full-size pipelines: ``pytest -m gpu``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_space.knob import Tier
from search_space.space import Space, all_knobs, steps
from search_space.trial import Measurement
from search_space.workload import Workload
from tests.benchmarks.covering import alone, pairs
from tests.search_space.test_knobs import LEAST_DB
from tuner.children import Children
from tuner.run import Request, prepare
from tuner.runner import Deadlines, run_trial
from tuner.worker import Job

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no cuda device"),
]
SIDE_PX = {"sd15": 512, "sdxl": 1024}
EVERY_NTH_PAIR = 20
CHOICES = [(knob.name, value) for knob in all_knobs() for value in knob.values[1:]]


class Setting:
    """A full-size pipeline on the GPU, with the images of its baseline to compare with."""

    def __init__(self, children: Children, name: str, folder: Path) -> None:
        side_px = SIDE_PX[name]
        workload = Workload(f"reference:{name}", height_px=side_px, width_px=side_px, steps=4)
        request = Request(workload, folder, device="cuda", quality=Tier.LOSSY, allow_lossy=True)
        context = prepare(children, request)
        self.space = Space(context)
        self._children = children
        reference = str(folder / "baseline.npz")
        known = context.spec.folder, "cuda"
        self._job = Job(context.workload, *known, {}, str(folder), output=reference)
        assert isinstance(self.outcome({}), Measurement)
        self._job = replace(self._job, output=None, reference=reference, cap_s=0.0)

    def outcome(self, config: dict[str, str]) -> object:
        """What a trial of the config comes to."""
        job = replace(self._job, config=config)
        return run_trial(self._children, job, Deadlines(900.0), lambda phase: None).outcome


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as opened:
        yield opened


@pytest.fixture(scope="module", params=SIDE_PX)
def setting(
    request: pytest.FixtureRequest, children: Children, tmp_path_factory: pytest.TempPathFactory
) -> Setting:
    return Setting(children, request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize(("name", "value"), CHOICES)
def test_a_choice_acts_and_keeps_the_image(name, value, setting):
    knob = next(knob for knob in all_knobs() if knob.name == name)
    if reason := setting.space.reason(knob, value):
        pytest.skip(reason)
    config = setting.space.supported({name: value})
    outcome = setting.outcome(config)
    assert isinstance(outcome, Measurement), outcome
    least_db = min(LEAST_DB[step.choice.tier] for step in steps(config))
    assert outcome.psnr_db is None or outcome.psnr_db >= least_db


def test_pairs_that_the_rules_allow_run(setting):
    configs = [alone(setting.space, pair) for pair in pairs(setting.space)]
    allowed = [config for config in configs if setting.space.clash(config) is None]
    assert allowed
    tried = {str(config): setting.outcome(config) for config in allowed[::EVERY_NTH_PAIR]}
    failed = {name: seen for name, seen in tried.items() if not isinstance(seen, Measurement)}
    assert failed == {}


def test_the_gpu_is_watched_and_stages_add_up(setting):
    outcome = setting.outcome({"precision": "bf16"})
    assert isinstance(outcome, Measurement), outcome
    kinds = {condition.kind for condition in outcome.conditions}
    assert {"gpu_others", "gpu_sm_clock_mhz", "gpu_temperature_c"} <= kinds
    stages_s = sum(sum(outcome.seconds[kind]) for kind in ("text_encoding", "step", "decode"))
    assert 0.5 < stages_s / sum(outcome.seconds["steady"]) <= 1.0
