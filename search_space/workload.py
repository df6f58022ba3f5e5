"""The workload: model, size, steps, batch, prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from search_space.errors import ModelError, UsageError
from search_space.foreign import Count
from search_space.identity import fingerprint

if TYPE_CHECKING:
    from search_space.pipeline.spec import PipelineSpec

PROMPT = "a photograph of an astronaut riding a horse"

MOST_IMAGES = 2**16
"""Of one call: more than any device holds, and few enough to write down the prompt of each."""

SEEDS = range(2**63 - MOST_IMAGES)
"""What torch takes as a seed in every call; each image of a batch has the seed after the one
before, so room is left for these."""

Images = Annotated[int, range(1, MOST_IMAGES + 1)]
Prompts = Annotated[tuple[str, ...], range(1, MOST_IMAGES + 1)]
Seed = Annotated[int, SEEDS]


@dataclass(frozen=True)
class Workload:
    """One pipeline call; None leaves a figure to the pipeline's own default.

    ``model_fingerprint`` is the identity of the model's files, whatever the folder is called.
    With ``throughput`` it is seconds per image that count, and calls may hold more prompts.
    """

    model: str
    model_fingerprint: str = ""
    height_px: Count | None = None
    width_px: Count | None = None
    num_frames: Count | None = None
    steps: Count | None = None
    batch_size: Images = 1
    guidance_scale: float | None = None
    prompts: Prompts = (PROMPT,)
    seed: Seed = 0
    throughput: bool = False

    def counted(self, images: int) -> int:
        """By how many of the images of a call its seconds are divided."""
        return images if self.throughput else 1

    @property
    def fingerprint(self) -> str:
        facts = asdict(self)
        del facts["model"]
        # It came later: without it the workloads of before keep their identity.
        if not self.throughput:
            del facts["throughput"]
        return fingerprint(facts)

    def call(self) -> dict[str, Any]:
        """The keyword arguments of the pipeline call; prompts are repeated to fill the batch."""
        prompts = [self.prompts[i % len(self.prompts)] for i in range(self.batch_size)]
        arguments: dict[str, Any] = {
            "prompt": prompts if self.batch_size > 1 else prompts[0],
            "height": self.height_px,
            "width": self.width_px,
            "num_frames": self.num_frames,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
        }
        return {name: value for name, value in arguments.items() if value is not None}

    def filled(self, defaults: Mapping[str, Any]) -> Workload:
        """The same workload with what was left open taken from ``defaults``."""
        gaps = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return replace(self, **gaps)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Workload:
        """The inverse of ``dataclasses.asdict``."""
        return cls(**{**facts, "prompts": tuple(facts["prompts"])})


def check_workload(workload: Workload, spec: PipelineSpec) -> None:
    """Raise UsageError where the pipeline cannot be called as the workload says."""
    if "prompt" not in spec.call_parameters:
        raise ModelError(
            f"{spec.class_name} takes no prompt: only text-to-image and -video for now"
        )
    if len(workload.prompts) > workload.batch_size:
        count = len(workload.prompts)
        raise UsageError(f"{count} prompts do not fit one call: give --batch-size {count}")
    for name, size_px in (("height", workload.height_px), ("width", workload.width_px)):
        _check_size(name, size_px, spec.size_multiple_px)
    frames = workload.num_frames
    if frames is not None and "num_frames" not in spec.call_parameters:
        raise UsageError(f"{spec.class_name} makes images: leave --num-frames out")
    options = {
        "--height": ("height", workload.height_px),
        "--width": ("width", workload.width_px),
        "--steps": ("num_inference_steps", workload.steps),
        "--guidance-scale": ("guidance_scale", workload.guidance_scale),
    }
    for option, (argument, value) in options.items():
        if value is not None and argument not in spec.call_parameters:
            raise UsageError(f"{spec.class_name} takes no {argument}: leave {option} out")
    if frames is not None and (frames - 1) % spec.frame_multiple:
        nearest = (frames - 1) // spec.frame_multiple * spec.frame_multiple + 1
        raise UsageError(
            f"--num-frames {frames} does not suit the VAE: "
            f"take a multiple of {spec.frame_multiple} plus 1, such as {nearest}"
        )


def _check_size(name: str, size_px: int | None, multiple_px: int) -> None:
    if size_px is None or size_px % multiple_px == 0:
        return
    nearest_px = max(1, round(size_px / multiple_px)) * multiple_px
    raise UsageError(
        f"--{name} {size_px} is not divisible by {multiple_px}, the factor of the VAE and the "
        f"denoiser's patches: take {nearest_px}"
    )
