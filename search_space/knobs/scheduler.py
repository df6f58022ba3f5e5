"""Another scheduler: another way from noise to the image."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import STEP, Choice, Context, Stage, Tier, knob
from search_space.needs import every, lossy_steps, need

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "deis": "DEISMultistepScheduler",
    "dpm-multistep": "DPMSolverMultistepScheduler",
    "dpm-singlestep": "DPMSolverSinglestepScheduler",
    "euler": "EulerDiscreteScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""Those that call the denoiser once a step and draw no noise on the way."""

WITHOUT_FLOW = ("ddim", "euler")
"""Those that know no ``use_flow_sigmas``."""


def standing_in(choice: str) -> Choice:
    """The choice of a scheduler, for pipelines in which it can stand."""

    @need("a pipeline with another scheduler that it can stand in for")
    def compatible(context: Context) -> str | None:
        own, *alternatives = context.spec.schedulers or ("no scheduler",)
        if SCHEDULERS[choice] == own:
            return f"{own} is the pipeline's own scheduler"
        if SCHEDULERS[choice] not in alternatives:
            return f"{SCHEDULERS[choice]} cannot stand in for {own}"
        if context.spec.predicts_flow and choice in WITHOUT_FLOW:
            return f"{SCHEDULERS[choice]} does not work with flow, which the denoiser predicts"
        return None

    return Choice(
        choice, every(compatible, lossy_steps), Tier.LOSSY, another_image=True, steps_differ=True
    )


def scheduler_effect(build: Build, choice: str) -> str | None:
    name = type(build.pipe.scheduler).__name__
    return None if name == SCHEDULERS[choice] else f"the scheduler of the pipeline is {name}"


@knob(
    Stage.SCHEDULER,
    choices=(Choice("own"), *map(standing_in, SCHEDULERS)),
    effect=scheduler_effect,
    run_on=("cpu",),
    parts=STEP,
)
def scheduler(build: Build, choice: str) -> None:
    """Another scheduler with the settings of the pipeline's own: by design another image."""
    import diffusers

    # DDIM clips to the range of pixels unless it is told; latents have another.
    settings = {"clip_sample": False, **build.pipe.scheduler.config}
    build.pipe.scheduler = getattr(diffusers, SCHEDULERS[choice]).from_config(settings)
