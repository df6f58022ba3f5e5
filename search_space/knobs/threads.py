"""The threads that PyTorch computes with on a CPU."""

from __future__ import annotations

from search_space.build import Build
from search_space.hardware.detect import logical_cores
from search_space.knob import Choice, Context, Need, Stage, Tier, knob
from search_space.needs import device, every, need

CORES_A_THREAD = {"half": 2, "every-logical-core": 1}
"""Two logical cores are often one real one, whose arithmetic two threads would have to share."""


def thread_count(choice: str, cores: int) -> int:
    return max(1, cores // CORES_A_THREAD[choice])


def not_by_itself(choice: str) -> Need:
    @need("another number of threads than PyTorch takes by itself")
    def another_number(context: Context) -> str | None:
        count = thread_count(choice, context.machine.cores)
        if count != context.machine.threads:
            return None
        return f"PyTorch takes {count} of {context.machine.cores} cores by itself"

    return another_number


def threads_effect(build: Build, choice: str) -> str | None:
    import torch

    count = torch.get_num_threads()
    return None if count == build.evidence.get("threads") else f"PyTorch takes {count} threads"


@knob(
    Stage.ENVIRONMENT,
    choices=(
        Choice("default"),
        *(
            Choice(
                choice,
                need=every(device("cpu", what="the number of threads"), not_by_itself(choice)),
                tier=Tier.LOSSLESS,
            )
            for choice in CORES_A_THREAD
        ),
    ),
    effect=threads_effect,
    run_on=("cpu",),
)
def threads(build: Build, choice: str) -> None:
    """As many threads as there are logical cores, or half as many, as there often are real ones."""
    import torch

    build.evidence["threads"] = thread_count(choice, logical_cores())
    torch.set_num_threads(build.evidence["threads"])
