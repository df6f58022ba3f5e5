"""Several prompts in one call."""

from __future__ import annotations

from collections.abc import Mapping

from search_space.build import Build
from search_space.knob import Choice, Context, Stage, Tier, knob
from search_space.needs import need
from search_space.workload import Workload


@need("--objective throughput")
def counts_images(context: Context) -> str | None:
    if context.workload.throughput:
        return None
    return "one call is what counts in this workload: give --objective throughput"


def images_in_call(workload: Workload, config: Mapping[str, str]) -> int:
    """How many images or videos one call makes."""
    return workload.batch_size * times(config.get("batch", "as-asked"))


def times(choice: str) -> int:
    """By how much the choice lengthens the list of prompts."""
    return int(choice.removeprefix("times-")) if choice.startswith("times-") else 1


def batch_effect(build: Build, choice: str) -> str | None:
    prompts, count_before = build.call["prompt"], build.evidence.get("batch")
    count = len(prompts) if isinstance(prompts, list) else 1
    if count_before is not None and count == count_before * times(choice):
        return None
    return f"the call holds {count} prompts, not {times(choice)} times those asked for"


@knob(
    Stage.CALL,
    choices=(
        Choice("as-asked"),
        Choice("times-2", need=counts_images, tier=Tier.LOSSLESS),
        Choice("times-4", need=counts_images, tier=Tier.LOSSLESS),
        Choice("times-8", need=counts_images, tier=Tier.LOSSLESS),
    ),
    effect=batch_effect,
    run_on=("cpu",),
)
def batch(build: Build, choice: str) -> None:
    """Several times as many prompts in one call, where seconds per image are what counts."""
    prompt = build.call["prompt"]
    prompts = prompt if isinstance(prompt, list) else [prompt]
    build.evidence["batch"] = len(prompts)
    build.call["prompt"] = prompts * times(choice)
