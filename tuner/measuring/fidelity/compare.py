"""Whether an output is valid, and how far it is from the reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.build import Build
from search_space.config import makes_another_image
from search_space.fidelity import ANOTHER_IMAGE, Fidelity, eased
from tuner.measuring.fidelity.outputs import (
    Output,
    Reference,
    output_of,
    pictures,
    recorded_latents,
    write_arrays,
)

if TYPE_CHECKING:
    from tuner.records.job import Job

OTHER_PROMPT = "a bowl of fruit on a wooden table, oil painting"
OTHER_SEED = 1000
"""Added to the workload's seed for the call with the other prompt: far beyond the seeds of a batch,
whose images have those that follow."""

WHERE = ("", "with another prompt ")
"""How a sentence about either call begins."""


class InvalidOutput(Exception):
    """The output of a trial is no result."""


def fidelity_of(build: Build, job: Job, first: Output, can_win: bool) -> dict[str, float]:
    """How far a trial is from the reference, whose own floor it otherwise gives.

    ``first`` is what the user's prompt made. Where the trial ``can_win``, one more call is made
    with another prompt and seed. Raises InvalidOutput.
    """
    reference = None if job.reference is None else Reference.read(Path(job.reference))
    outputs = [valid_output(first, reference, 0)]
    if reference is None or (can_win and len(reference.outputs) > 1):
        outputs.append(
            valid_output(another_call(build, job, OTHER_PROMPT, OTHER_SEED), reference, 1)
        )
    if job.pictures is not None:
        write_arrays(Path(job.pictures), pictures(outputs))
    if reference is None:
        floor = noise_floor(build, job, first)
        if job.output is not None:
            Reference(tuple(outputs), floor).write(Path(job.output))
        return floor
    if makes_another_image(job.config):
        return {}
    return worst_fidelity(outputs, reference, job.lpips)


def another_call(build: Build, job: Job, prompt: str | None = None, seed: int = 0) -> Output:
    """The output of one more call, with another prompt where one is given."""
    from tuner.measuring.calls import generators
    from tuner.measuring.fidelity.metrics import noise_in_float32

    arguments = dict(build.call)
    if prompt is not None:
        prompts = arguments["prompt"]
        arguments["prompt"] = [prompt] * len(prompts) if isinstance(prompts, list) else prompt
    arguments["generator"] = generators(arguments, job.workload.seed + seed)
    with noise_in_float32(build.pipe), recorded_latents(build) as latents:
        output = build.pipe(**arguments)
    return output_of(output, latents)


def noise_floor(build: Build, job: Job, first: Output) -> dict[str, float]:
    """How far the output is from itself when nothing changes but rounding."""
    with keys_reversed():
        metrics = fidelity(another_call(build, job), first, job.lpips)
    return {f"floor_{name}": value for name, value in metrics.items()}


@contextmanager
def keys_reversed() -> Iterator[None]:
    """Have attention add up its keys from the last to the first: another rounding, nothing else."""
    from torch.nn import functional

    attention = functional.scaled_dot_product_attention

    def backwards(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        names = ("attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
        kwargs.update(zip(names, args, strict=False))
        if not kwargs.get("is_causal"):
            key, value = key.flip(-2), value.flip(-2)
            if kwargs.get("attn_mask") is not None:
                kwargs["attn_mask"] = kwargs["attn_mask"].flip(-1)
        return attention(query, key, value, **kwargs)

    functional.scaled_dot_product_attention = backwards
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = attention


def valid_output(output: Output, reference: Reference | None, number: int) -> Output:
    """The output, cut to the images that the reference has; raises InvalidOutput."""
    from tuner.measuring.fidelity.metrics import invalid

    reason = invalid(output.images, output.latents)
    if reason:
        raise InvalidOutput(WHERE[number] + reason)
    if reference is None:
        return output
    expected = reference.outputs[number]
    # A call with more prompts than the baseline's begins with the baseline's.
    images, latents = output.images[: len(expected.images)], output.latents
    if latents is not None and expected.latents is not None:
        latents = latents[: len(expected.latents)]
    if images.shape != expected.images.shape:
        shapes = f"{images.shape}, the reference {expected.images.shape}"
        raise InvalidOutput(f"{WHERE[number]}the output has shape {shapes}")
    return Output(images, latents)


def worst_fidelity(
    outputs: list[Output], reference: Reference, lpips_folder: str | None = None
) -> dict[str, float]:
    """The worst of each metric over the prompts; raises InvalidOutput for another image."""
    fidelities: list[Fidelity] = []
    for number, (output, expected) in enumerate(zip(outputs, reference.outputs, strict=False)):
        fidelities.append(fidelity(output, expected, lpips_folder))
        another = another_image({**fidelities[-1], **reference.floor})
        if another:
            raise InvalidOutput(WHERE[number] + another)
    pickers = {"psnr_db": min, "ssim": min, "lpips": max, "latent_error": max}
    worst = {
        name: pick(metrics[name] for metrics in fidelities)
        for name, pick in pickers.items()
        if all(name in metrics for metrics in fidelities)
    }
    return {**worst, "prompts": float(len(fidelities)), **reference.floor}


def fidelity(
    output: Output, reference: Output, lpips_folder: str | None = None
) -> dict[str, float]:
    """The metrics of one output beside another of the same shape, without those that it has not.

    An image can be too small for SSIM and LPIPS, and latents can be of another shape.
    """
    from tuner.measuring.fidelity.lpips import LPIPS_SMALLEST_PX, lpips
    from tuner.measuring.fidelity.metrics import SSIM_SMALLEST_PX, latent_error, psnr_db, ssim

    images, others = output.images, reference.images
    smallest_px = min(images.shape[-3:-1])
    metrics: dict[str, float | None] = {"psnr_db": psnr_db(images, others)}
    if smallest_px >= SSIM_SMALLEST_PX:
        metrics["ssim"] = ssim(images, others)
    if lpips_folder is not None and smallest_px >= LPIPS_SMALLEST_PX:
        metrics["lpips"] = lpips(images, others, lpips_folder)
    latents, reference_latents = output.latents, reference.latents
    if (
        latents is not None
        and reference_latents is not None
        and latents.shape == reference_latents.shape
    ):
        metrics["latent_error"] = latent_error(latents, reference_latents)
    return {name: value for name, value in metrics.items() if value is not None}


def another_image(metrics: Fidelity) -> str | None:
    """Why this is not the reference's image with some error, or None."""
    floors = {name: eased(name, limit, metrics) for name, limit in ANOTHER_IMAGE.items()}
    if metrics["psnr_db"] < floors["psnr_db"]:
        figures = f"PSNR to the reference is {metrics['psnr_db']:.1f} dB, the floor"
        return f"the image is another one: its {figures} {floors['psnr_db']:.0f} dB"
    if "ssim" in metrics and metrics["ssim"] < floors["ssim"]:
        figures = f"SSIM to the reference is {metrics['ssim']:.2f}, the floor"
        return f"the image is another one: its {figures} {floors['ssim']:.2f}"
    return None
