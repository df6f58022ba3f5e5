from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from search_space.budget import UNLIMITED
from search_space.build import Build
from search_space.construct import construct
from search_space.space import Space
from search_space.workload import Workload
from storage import Store
from tests.tuner.history_store import history_store as history_store
from tests.tuner.history_store import kept_history as kept_history
from tests.tuner.history_store import tune as tune
from tests.tuner.lpips_weights import random_weights
from tests.tuner.simulation import BEST, SEARCHED, context, go_noisily
from tuner.measuring.fidelity.compare import another_call, fidelity_of
from tuner.measuring.fidelity.lpips import BACKBONE, HEADS
from tuner.measuring.fidelity.outputs import Reference
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.records.plan import Plan
from tuner.reference import build

CALL = {"height_px": 64, "width_px": 64, "steps": 2}


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory):
    """A cache folder in which the smallest reference pipeline has been built."""
    folder = tmp_path_factory.mktemp("cache")
    build("sd15-tiny", folder)
    return folder


@pytest.fixture(scope="session")
def lpips_folder(tmp_path_factory):
    """A folder with files such as those by which LPIPS is measured."""
    folder = tmp_path_factory.mktemp("lpips")
    for name, tensors in zip((BACKBONE, HEADS), random_weights(), strict=True):
        torch.save(tensors, folder / name)
    return str(folder)


@pytest.fixture(scope="module", params=[True, False], ids=["forked", "spawned"])
def children(request):
    """Starts processes: forked, and then each with an interpreter of its own."""
    with Children(forks=request.param) as started:
        yield started


@pytest.fixture
def store(tmp_path):
    """A ledger of the test's own."""
    with Store(str(tmp_path / "history.db")) as opened:
        yield opened


@pytest.fixture
def plan(tmp_path):
    """A search of a few trials among the knobs of the best config, and a race."""
    space = Space(context(), include=tuple(BEST))
    return Plan(space, UNLIMITED, SEARCHED, None, 600.0, tmp_path / "cache", race_rounds=3)


@pytest.fixture
def found(plan, store):
    """A store in which the search has met the best config already: two trials."""
    space = Space(context(), BEST, tuple(BEST))
    go_noisily(replace(plan, space=space, trials=2, race_rounds=0), store)
    return store


@pytest.fixture(scope="session")
def trial(reference_folder, tmp_path_factory):
    """Runs a trial's comparison on a real pipeline, of which something may have been broken."""
    builds = {}

    def run(family, reference=None, output=None, broken=None, can_win=True, **facts):
        workload = Workload(family, num_frames={"wan-tiny": 5}.get(family), **CALL)
        if family not in builds:
            call = {**workload.call(), "output_type": "np"}
            cache = tmp_path_factory.mktemp("cache")
            build = builds[family] = Build(str(reference_folder(family)), "cpu", call, cache)
            construct(build, {}).set_progress_bar_config(disable=True)
        build = builds[family]
        job = Job(workload, build.model, "cpu", {}, "", reference, output, **facts)
        (entry,) = build.entries("vae_engine")
        restore = entry.replace(broken(entry.function) if broken else entry.function)
        try:
            return fidelity_of(build, job, another_call(build, job), can_win)
        finally:
            restore()

    return run


@pytest.fixture(scope="session")
def references(trial, tmp_path_factory):
    """The file of what the untouched pipeline makes of both prompts."""
    paths = {}
    for family in ("sd15-tiny", "wan-tiny"):
        paths[family] = str(tmp_path_factory.mktemp("made") / f"{family}.npz")
        trial(family, output=paths[family])
    return paths


@pytest.fixture(scope="session")
def made_of(references):
    """What the untouched pipelines made: an image and a video, each of two prompts."""
    return {family: Reference.read(path) for family, path in references.items()}
