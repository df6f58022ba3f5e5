"""What the denoiser takes over from earlier steps; each cache is declared in a file of its own."""

from __future__ import annotations

from search_space.knob import Choice, Context, Knob, Need, Stage, goes_only_with
from search_space.needs import every

LEAST_STEPS = 8
"""With fewer steps each differs too much from the one before."""

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
)


def enough_steps(context: Context) -> str | None:
    """There must be at least 8 steps: with fewer each differs too much from the one before."""
    steps = context.workload.steps
    if steps is None or steps >= LEAST_STEPS:
        return None
    return f"a cache is for {LEAST_STEPS} steps or more, the workload has {steps}"


def caching(kind: str) -> Need:
    """The cache of diffusers must find something to hook and know which call is which."""

    def hookable(context: Context) -> str | None:
        """The model must have blocks that this cache can hook, the pipeline say what it calls."""
        for denoiser in context.spec.denoisers:
            if kind not in denoiser.step_caches:
                return f"this cache finds nothing to hook in {denoiser.class_name}"
        if context.spec.sets_cache_context:
            return None
        return f"{context.spec.class_name} does not tell a cache which of its calls is which"

    return every(hookable, enough_steps)
