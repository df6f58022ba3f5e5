from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from search_space.hardware.machine import Machine
from search_space.knob import Context
from search_space.pipeline.spec import PipelineSpec
from search_space.workload import Workload
from tests.calm import save_calm


@pytest.fixture(scope="session")
def describe(
    describe_machine: Callable[..., Machine], reference_spec: Callable[[str], PipelineSpec]
) -> Callable[..., Context]:
    """The context of a described machine, a tiny pipeline and a workload of the given facts."""

    def context(
        device: str = "cpu", family: str = "sd15-tiny", workload: Workload | None = None, **facts
    ) -> Context:
        chosen = workload or Workload(family)
        machine, spec = describe_machine(device, **facts), reference_spec(family)
        return Context(machine, spec, chosen, allow_lossy=True, allow_remote_code=True)

    return context


@pytest.fixture(scope="session")
def calm_folder(
    reference_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of the calm variant of a reference pipeline, saved once a session."""
    folder = tmp_path_factory.mktemp("calm")
    return cache(lambda family: save_calm(reference_folder(family), folder / family))
