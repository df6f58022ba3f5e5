"""The contract of a knob, as its choices are applied to real pipelines on this CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch._dynamo.utils import counters

from search_space.build import Build
from search_space.catalog import all_probes
from search_space.config import makes_another_image, steps
from search_space.construct import construct, no_effect
from search_space.hardware.detect import detect
from search_space.hardware.machine import Machine
from search_space.knob import Choice, Context, Knob, Stage, Tier
from search_space.space import Space
from search_space.workload import Workload
from tests.search_space.choices import (
    FAMILIES,
    LEAST_DB,
    QUICK_TO_COMPILE,
    SMALL,
    WORKLOADS,
    every_choice,
    is_sentence,
    of_choices,
    workload_of,
)
from tuner.discovery.probing import HEAD_SIZE, probed
from tuner.measuring.calls import timed_call
from tuner.measuring.fidelity.metrics import images_of, invalid, noise_in_float32, psnr_db
from tuner.measuring.fidelity.outputs import Output, Reference
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import run_trial

# diffusers 0.42 hands a tensor to numpy.array in EulerDiscreteScheduler.set_timesteps, and the
# tensors of torch 2.13 do not know the keyword ``copy`` of numpy 2.
tensor_to_numpy = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
# The SDXL pipeline of diffusers 0.42 calls what diffusers 0.42 deprecates.
upcast_vae = pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")


def alone(knob: Knob) -> tuple[pytest.MarkDecorator, ...]:
    """Threads are not to choose from while tests run side by side with one each."""
    return (pytest.mark.slow,) if knob.stage is Stage.ENVIRONMENT else ()


def needs_a_process(knob: Knob, choice: Choice) -> bool:
    """Whether a choice that runs here leaves its state in the process, or is the process's."""
    staged = knob.stage in (Stage.ENVIRONMENT, Stage.ENGINE)
    staged = staged or "engine" in {c.knob for c in choice.conflicts if c.only}
    return "cpu" in choice.run_on and staged


@every_choice
def test_what_is_available_on_this_cpu_is_run_by_these_tests(knob, choice, describe, here):
    def available(**facts: Any) -> bool:
        described = [
            replace(describe("cpu", family, workload_of(family, workload)), **facts)
            for family, workload in product(FAMILIES, WORKLOADS)
        ]
        return None in [choice.need(context) for context in described]

    claimed = "cpu" in choice.run_on
    assert claimed or not available(machine=here)
    assert available() or not claimed


@pytest.fixture(scope="module")
def here(children: Children) -> Machine:
    machine = detect("cpu")
    return replace(machine, probes=probed(children, sorted(all_probes()), "cpu", HEAD_SIZE))


def least_db(config: dict[str, str]) -> float:
    """What the choice that moves the image furthest leaves to be expected."""
    if makes_another_image(config):
        return 0.0
    return min(LEAST_DB[step.choice.tier] for step in steps(config))


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder_for(
    reference_folder: Callable[[str], Path], calm_folder: Callable[[str], Path]
) -> Callable[[str, Workload], str]:
    """The folder of a pipeline: where there are many steps, of one whose steps are alike."""

    def folder(family: str, workload: Workload) -> str:
        return str((reference_folder if workload.steps == SMALL.steps else calm_folder)(family))

    return folder


@pytest.fixture(scope="module")
def make(folder_for: Callable[[str, Workload], str], exports: Path) -> Callable[..., Any]:
    """Builds a config as a trial does and calls the pipeline once."""

    def made(family: str, workload: Workload, config: dict[str, str]) -> tuple[Build, np.ndarray]:
        arguments = {**workload.call(), "output_type": "np"}
        build = Build(folder_for(family, workload), "cpu", arguments, exports)
        pipe = construct(build, config)
        pipe.set_progress_bar_config(disable=True)
        with noise_in_float32(pipe):
            call = timed_call(pipe, build.call, "cpu", workload.seed)
        return build, images_of(call.output)

    return made


@pytest.fixture(scope="module")
def baseline(make: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """The images of the untouched pipeline, made once for each family and workload."""
    return cache(lambda family, workload: make(family, workload, {})[1])


@pytest.fixture(scope="module")
def suitable(describe: Callable[..., Context], here: Machine) -> Callable[..., Any]:
    """The first family and the smallest workload for which a choice is available here.

    With the config that holds the choice and what it asks for elsewhere.
    """

    def find(
        knob: Knob, choice: Choice, families: tuple[str, ...]
    ) -> tuple[str, Workload, dict[str, str]]:
        for workload, family in product(WORKLOADS, families):
            chosen = workload_of(family, workload)
            context = replace(describe("cpu", family, chosen), machine=here, quality=Tier.LOSSY)
            reason = choice.need(context)
            if reason is None:
                return family, chosen, Space(context).supported({knob.name: choice.value})
        pytest.skip(reason)

    return find


@tensor_to_numpy
@of_choices(lambda knob, choice: "cpu" in choice.run_on and not needs_a_process(knob, choice))
def test_a_choice_acts_and_keeps_the_image(knob, choice, suitable, make, baseline):
    family, workload, config = suitable(knob, choice, FAMILIES)
    build, images = make(family, workload, config)
    assert no_effect(build, config) is None
    assert invalid(images) is None
    reference = baseline(family, workload)
    assert psnr_db(images[: len(reference)], reference) >= least_db(config)


@of_choices(needs_a_process, alone)
def test_an_engine_acts_and_keeps_the_image(knob, choice, suitable, baseline, try_here):
    # In a process of its own, because compilers leave their state in it.
    family, workload, config = suitable(knob, choice, QUICK_TO_COMPILE)
    measured = try_here(family, workload, config)
    assert measured.psnr_db >= least_db(config)


@pytest.fixture(scope="module")
def try_here(
    children: Children,
    folder_for: Callable[[str, Workload], str],
    baseline: Callable[..., np.ndarray],
    exports: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Any]:
    """Builds and calls a config in a child, and compares its output with the baseline's."""

    def tried(family: str, workload: Workload, config: dict[str, str]) -> Any:
        reference = tmp_path_factory.mktemp("reference") / "baseline.npz"
        Reference((Output(baseline(family, workload)),), {}).write(reference)
        folder = folder_for(family, workload)
        job = Job(
            workload,
            folder,
            "cpu",
            config,
            str(exports),
            str(reference),
            compile_cache=str(exports / "inductor"),
        )
        # Once, and not timed: a trial would wait for calm beside other tests.
        task = "tests.benchmarks.pairs:try_pairs"
        trial = run_trial(children, job, Deadlines(trial_s=300), lambda phase: None, task)
        assert trial.measurement is not None, trial.outcome
        return trial.measurement

    return tried


@tensor_to_numpy
@upcast_vae
@pytest.mark.parametrize("family", FAMILIES[1:])
@pytest.mark.parametrize("value", ["bf16", "fp16"])
def test_every_family_runs_in_half_precision(value, family, make, baseline):
    workload = workload_of(family, SMALL)
    build, images = make(family, workload, {"precision": value})
    assert no_effect(build, {"precision": value}) is None
    assert invalid(images) is None
    assert psnr_db(images, baseline(family, workload)) >= LEAST_DB[Tier.NEAR]


# SD 3 is what the engine is tried with above, SD 1.5 is tuned from end to end.
@tensor_to_numpy
@pytest.mark.parametrize("family", ["sdxl-tiny", "flux-tiny", "wan-tiny"])
def test_other_families_run_on_onnxruntime(family, baseline, try_here):
    workload = workload_of(family, SMALL)
    measured = try_here(family, workload, {"engine": "onnxruntime"})
    assert measured.psnr_db >= LEAST_DB[Tier.LOSSLESS]


@pytest.fixture(scope="module")
def untouched_build(make: Callable[..., Any]) -> Build:
    # As in a trial's process: whatever a test before this one compiled does not count.
    counters.clear()
    return make("sd15-tiny", workload_of("sd15-tiny", SMALL), {})[0]


@every_choice
def test_a_choice_that_was_not_applied_is_found_out(knob, choice, untouched_build):
    seen = no_effect(untouched_build, {knob.name: choice.value})
    assert seen.startswith(f"{knob.name}={choice.value} had no effect: ")
    assert is_sentence(seen.partition(": ")[2])
