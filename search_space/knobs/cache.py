"""What the denoiser takes over from earlier steps; each cache is declared in a file of its own."""

from __future__ import annotations

from search_space.knob import STEP, Choice, Context, Knob, Need, Stage, goes_only_with
from search_space.needs import every, need

LEAST_STEPS = 8
"""With fewer steps each differs too much from the one before, and little is left to skip."""

# CUDA graphs and exported ones replay a whole step; regions are compiled without breaks.
BREAKS_THE_GRAPH = goes_only_with(
    "engine",
    ("eager", "compile-default"),
    "what is computed is decided at each step, outside of a graph",
)

cache = Knob(
    "cache",
    Stage.CACHE,
    (Choice("off"),),
    "What the denoiser takes over from an earlier step in place of computing it.",
    parts=STEP,
)


@need(f"{LEAST_STEPS} steps or more")
def enough_steps(context: Context) -> str | None:
    steps = context.workload.steps
    if steps is None or steps >= LEAST_STEPS:
        return None
    return f"a cache is for {LEAST_STEPS} steps or more, the workload has {steps}"


@need("a pipeline that tells a cache which of its calls is which")
def calls_told_apart(context: Context) -> str | None:
    if context.spec.sets_cache_context:
        return None
    return f"{context.spec.class_name} does not tell a cache which of its calls is which"


def caching(kind: str) -> Need:
    """A model and a pipeline for a cache of diffusers, and steps enough."""

    @need(f"a denoiser in which {kind} finds something to hook")
    def hookable(context: Context) -> str | None:
        for denoiser in context.spec.denoisers:
            if kind not in denoiser.step_caches:
                return f"this cache finds nothing to hook in {denoiser.class_name}"
        return None

    return every(hookable, calls_told_apart, enough_steps)
