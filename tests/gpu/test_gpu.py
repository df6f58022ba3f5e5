"""Every choice, and pairs of them, on a real GPU with full-size pipelines: ``pytest -m gpu``.

With pytest-xdist (``-n 8``) trials run side by side: it is quicker, and no time is to be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from search_space.catalog import all_knobs
from search_space.config import makes_another_image, steps
from search_space.trial import Measurement
from tests.benchmarks.covering import alone, pairs
from tests.gpu.setting import SIDE_PX, Setting
from tests.search_space.choices import LEAST_DB
from tuner.processes.children import Children

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no cuda device"),
]
EVERY_NTH_PAIR = 40
SHARES = 8
CHOICES = [(knob.name, value) for knob in all_knobs() for value in knob.values[1:]]


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as opened:
        yield opened


@pytest.fixture(scope="module", params=SIDE_PX)
def setting(
    request: pytest.FixtureRequest, children: Children, tmp_path_factory: pytest.TempPathFactory
) -> Setting:
    return Setting(children, request.param, tmp_path_factory.mktemp(request.param), once=True)


def least_db(config: dict[str, str]) -> float:
    if makes_another_image(config):
        return 0.0
    return min(LEAST_DB[step.choice.tier] for step in steps(config))


def test_the_baseline_runs(setting):
    assert isinstance(setting.baseline, Measurement), setting.baseline


@pytest.mark.parametrize(("name", "value"), CHOICES)
def test_a_choice_acts_and_keeps_the_image(name, value, setting):
    knob = next(knob for knob in all_knobs() if knob.name == name)
    if reason := setting.space.reason(knob, value):
        pytest.skip(reason)
    config = setting.space.supported({name: value})
    outcome = setting.outcome(config)
    assert isinstance(outcome, Measurement), outcome
    assert outcome.psnr_db is None or outcome.psnr_db >= least_db(config)


@pytest.mark.parametrize("share", range(SHARES))
def test_pairs_that_the_rules_allow_run(share, setting):
    configs = [alone(setting.space, pair) for pair in pairs(setting.space)]
    allowed = [config for config in configs if setting.space.clash(config) is None]
    chosen = allowed[::EVERY_NTH_PAIR][share::SHARES]
    assert chosen
    tried = {str(config): setting.outcome(config) for config in chosen}
    failed = {name: seen for name, seen in tried.items() if not isinstance(seen, Measurement)}
    assert failed == {}


def test_the_gpu_is_watched_and_stages_add_up(setting):
    outcome = setting.outcome({"precision": "bf16"}, once=False)
    assert isinstance(outcome, Measurement), outcome
    kinds = {condition.kind for condition in outcome.conditions}
    assert {"gpu_others", "gpu_sm_clock_mhz", "gpu_temperature_c"} <= kinds
    parts_s = sum(sum(outcome.seconds[kind]) for kind in ("text_encoding", "step", "decode"))
    assert 0.5 < parts_s / sum(outcome.seconds["steady"]) <= 1.0
