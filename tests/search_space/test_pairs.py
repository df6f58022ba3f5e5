"""Pairs of choices: what covers them, and those that run quickly.

All of them are run by ``python -m tests.benchmarks.pairs``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from search_space.build import PARTS
from search_space.config import Config
from search_space.hardware.detect import detect
from search_space.knob import Context, Tier
from search_space.space import Space
from tests.benchmarks.covering import alone, fullest, pairs, pairs_of
from tests.benchmarks.pairs import LARGEST, Family, Kept, sweep, workload_of
from tests.benchmarks.pairs_page import RAN, named, page
from tuner.processes.children import Children

SLOW = (*PARTS, "cache", "scheduler", "steps", "threads", "cpu_affinity")
QUICK = ("sd3-tiny",)
"""The other families take a minute or two each."""


@pytest.fixture
def space(describe: Callable[..., Context]) -> Space:
    """All that can be chosen for one family."""
    context = describe("cpu", "sd15-tiny", workload_of("sd15-tiny", LARGEST))
    return Space(replace(context, quality=Tier.LOSSY))


def test_few_configs_that_the_rules_allow_hold_every_pair(space):
    left = [pair for pair in pairs(space) if space.clash(alone(space, pair)) is None]
    count, configs = len(left), 0
    while left:
        config = fullest(space, left)
        assert space.holds(config)
        assert left[0] in pairs_of(config)
        left = [pair for pair in left if pair not in pairs_of(config)]
        configs += 1
    assert configs < count / 4


class Recorded:
    """Outcomes that are known: a config fails that holds all of ``bad``, if that is anything."""

    def __init__(self, bad: Config | None = None) -> None:
        self.bad = bad
        self.known: list[tuple[Config, str]] = []

    def outcome(self, config: Config) -> str:
        fails = self.bad is not None and self.bad.items() <= config.items()
        told = "failed: crash: boom" if fails else RAN
        self.known.append((config, told))
        return told


def test_of_a_config_that_fails_the_pairs_are_told_apart(space):
    bad = {"attention": "plain", "vae_slicing": "on"}
    found = sweep(space, Recorded(bad))
    failed = [pair for pair, told in found.pairs.items() if told.startswith("failed")]
    assert failed == [frozenset(bad.items())]
    assert found.together == {}
    assert "- sd15-tiny: attention=plain + vae_slicing=on: crash: boom" in page(
        {"sd15-tiny": found}, "a machine"
    )


def test_what_fails_only_with_a_third_choice_is_told(space):
    bad = {"attention": "plain", "vae_slicing": "on", "vae_tiling": "on"}
    found = sweep(space, Recorded(bad))
    assert found.counts()["failed"] == 0
    assert found.together
    for name in found.together:
        assert set(named(bad.items()).split(" + ")) <= set(name.split(" + "))


def test_pairs_that_are_not_run_in_time_are_told(space):
    earlier = Recorded()
    earlier.outcome({"precision": "bf16", "vae_slicing": "on"})
    counts = sweep(space, earlier, until_s=0.0).counts()
    assert counts["ran"] == 1
    assert counts["left"] > 100
    assert counts["ran"] + counts["left"] + counts["ruled out"] == counts.total()


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as opened:
        yield opened


@pytest.mark.parametrize("family", QUICK)
def test_every_quick_pair_runs(family, children, tmp_path_factory):
    tried = Family(family, tmp_path_factory.mktemp("pairs"), children)
    space = tried.space(detect("cpu"), exclude=SLOW)
    found = sweep(space, Kept(tried, tried.folder, "a processor"))
    assert [pair for pair, told in found.pairs.items() if told.startswith("failed")] == []
    assert found.together == {}
    assert found.counts()["ran"] > 50
