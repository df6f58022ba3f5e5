"""Whether what a trial made is a result, and how far it is from the reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.build import Build
from search_space.config import makes_another_image
from search_space.fidelity import ANOTHER_IMAGE, Fidelity, eased
from tuner.measuring.fidelity.outputs import (
    Made,
    Reference,
    latents_kept,
    made,
    pictures,
    write_arrays,
)

if TYPE_CHECKING:
    from tuner.records.job import Job

OTHER_PROMPT = "a bowl of fruit on a wooden table, oil painting"
OTHER_SEED = 1000
"""Added to the workload's seed for the call with the other prompt."""

WHERE = ("", "with another prompt ")
"""How a sentence about either call begins."""


class InvalidOutput(Exception):
    """The output is not one that could be used."""


def fidelity_of(build: Build, job: Job, first: Made, can_win: bool) -> dict[str, float]:
    """How far a trial is from the reference, whose own floor it otherwise gives.

    ``first`` is what the user's prompt made. Where the trial ``can_win``, one more call is made
    with another prompt and seed. Raises InvalidOutput.
    """
    reference = None if job.reference is None else Reference.read(Path(job.reference))
    outputs = [checked(first, reference, 0)]
    if reference is None or (can_win and len(reference.outputs) > 1):
        outputs.append(checked(again(build, job, OTHER_PROMPT, OTHER_SEED), reference, 1))
    if job.pictures is not None:
        write_arrays(Path(job.pictures), pictures(outputs))
    if reference is None:
        floor = noise_floor(build, job, first)
        if job.output is not None:
            Reference(tuple(outputs), floor).write(Path(job.output))
        return floor
    if makes_another_image(job.config):
        return {}
    return compared(outputs, reference, job.lpips)


def again(build: Build, job: Job, prompt: str | None = None, seed: int = 0) -> Made:
    """What one more call makes, of another prompt where one is given."""
    from tuner.measuring.calls import generators
    from tuner.measuring.fidelity.metrics import latents_in_float32

    arguments = dict(build.call)
    if prompt is not None:
        asked = arguments["prompt"]
        arguments["prompt"] = [prompt] * len(asked) if isinstance(asked, list) else prompt
    arguments["generator"] = generators(arguments, job.workload.seed + seed)
    with latents_in_float32(build.pipe), latents_kept(build) as latents:
        output = build.pipe(**arguments)
    return made(output, latents)


def noise_floor(build: Build, job: Job, first: Made) -> dict[str, float]:
    """How far the output is from itself when nothing changes but rounding."""
    with keys_reversed():
        found = fidelity(again(build, job), first, job.lpips)
    return {f"floor_{name}": value for name, value in found.items()}


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


def checked(output: Made, reference: Reference | None, number: int) -> Made:
    """The output, cut to the images that the reference has; raises InvalidOutput."""
    from tuner.measuring.fidelity.metrics import invalid

    reason = invalid(output.images)
    if reason:
        raise InvalidOutput(WHERE[number] + reason)
    if reference is None:
        return output
    theirs = reference.outputs[number]
    # A call with more prompts than the baseline's begins with the baseline's.
    images, latents = output.images[: len(theirs.images)], output.latents
    if latents is not None and theirs.latents is not None:
        latents = latents[: len(theirs.latents)]
    if images.shape != theirs.images.shape:
        shapes = f"{images.shape}, the reference {theirs.images.shape}"
        raise InvalidOutput(f"{WHERE[number]}the output has shape {shapes}")
    return Made(images, latents)


def compared(
    outputs: list[Made], reference: Reference, lpips_folder: str | None = None
) -> dict[str, float]:
    """The worst of each metric over the prompts; raises InvalidOutput for another image."""
    found: list[Fidelity] = []
    for number, (ours, theirs) in enumerate(zip(outputs, reference.outputs, strict=False)):
        found.append(fidelity(ours, theirs, lpips_folder))
        another = another_image({**found[-1], **reference.floor})
        if another:
            raise InvalidOutput(WHERE[number] + another)
    worst = {"psnr_db": min, "ssim": min, "lpips": max, "latent_error": max}
    metrics = {
        name: pick(one[name] for one in found)
        for name, pick in worst.items()
        if all(name in one for one in found)
    }
    return {**metrics, "prompts": float(len(found)), **reference.floor}


def fidelity(output: Made, reference: Made, lpips_folder: str | None = None) -> dict[str, float]:
    """The metrics of one output beside another of the same shape."""
    from tuner.measuring.fidelity.lpips import lpips
    from tuner.measuring.fidelity.metrics import latent_error, psnr_db, ssim

    metrics = {
        "psnr_db": psnr_db(output.images, reference.images),
        "ssim": ssim(output.images, reference.images),
    }
    if lpips_folder is not None:
        metrics["lpips"] = lpips(output.images, reference.images, lpips_folder)
    ours, theirs = output.latents, reference.latents
    if ours is not None and theirs is not None and ours.shape == theirs.shape:
        metrics["latent_error"] = latent_error(ours, theirs)
    return metrics


def another_image(found: Fidelity) -> str | None:
    """Why this is not the reference's image with some error, or None."""
    least = {name: eased(name, limit, found) for name, limit in ANOTHER_IMAGE.items()}
    if found["psnr_db"] < least["psnr_db"]:
        figures = f"PSNR to the reference is {found['psnr_db']:.1f} dB, the floor"
        return f"the image is another one: its {figures} {least['psnr_db']:.0f} dB"
    if found["ssim"] < least["ssim"]:
        figures = f"SSIM to the reference is {found['ssim']:.2f}, the floor"
        return f"the image is another one: its {figures} {least['ssim']:.2f}"
    return None
