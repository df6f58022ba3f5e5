from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from search_space.knob import Context
from search_space.machine import Machine
from search_space.pipeline_spec import PipelineSpec
from search_space.workload import Workload


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
    """The folder of a reference pipeline whose denoiser hardly sees which step it is.

    To random weights each step is as another model. Trained ones change little from one to the
    next, which is what a cache lives on.
    """
    import torch
    from diffusers import DiffusionPipeline
    from diffusers.models.embeddings import TimestepEmbedding

    @cache
    def calm(family: str) -> Path:
        pipe = DiffusionPipeline.from_pretrained(reference_folder(family))
        models = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
        for part in (part for model in models for part in model.modules()):
            if isinstance(part, TimestepEmbedding):
                part.linear_1.weight.data *= 0.02
        folder = tmp_path_factory.mktemp("calm") / family
        pipe.save_pretrained(folder)
        return folder

    return calm
