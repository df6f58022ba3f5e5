"""Threads bound to cores, told to OpenMP before the process starts."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, Stage, goes_only_with, knob
from search_space.needs import device, every, linux, need

ALONE = "threads that are not of OpenMP would share the one core of the thread that starts them:"


@need("more than one thread")
def several_threads(context: Context) -> str | None:
    if context.machine.threads > 1:
        return None
    return "PyTorch takes a single thread, which may as well move"


def bound(choice: str) -> dict[str, str]:
    """The variables that OpenMP reads when it is loaded."""
    return {"OMP_PROC_BIND": choice, "OMP_PLACES": "cores"}


def cores_of_threads() -> list[str]:
    """The cores that each thread of this process may use, as the kernel writes them."""
    masks = []
    for path in Path("/proc/self/task").glob("*/status"):
        lines = path.read_text(encoding="utf-8").splitlines()
        masks += [line for line in lines if line.startswith("Cpus_allowed_list:")]
    return masks


def cpu_affinity_effect(build: Build, choice: str) -> str | None:
    if len(set(cores_of_threads())) > 1:
        return None
    return "every thread may run on the same cores"


@knob(
    Stage.ENVIRONMENT,
    choices=(
        Choice("none"),
        *(
            Choice(
                choice,
                need=every(device("cpu", what="binding threads"), linux, several_threads),
                environment=bound,
            )
            for choice in ("close", "spread")
        ),
    ),
    conflicts=(
        Conflict(
            "threads",
            ("half", "every-logical-core"),
            "a thread that is bound sees no core but its own",
        ),
        goes_only_with(
            "engine",
            ("eager", "compile-regional", "compile-default", "compile-max-autotune"),
            f"{ALONE} only PyTorch's own engines use OpenMP",
        ),
        goes_only_with("vae_engine", ("eager", "compile"), f"{ALONE} PyTorch alone uses OpenMP"),
        goes_only_with(
            "text_encoder_engine", ("eager", "compile"), f"{ALONE} PyTorch alone uses OpenMP"
        ),
    ),
    effect=cpu_affinity_effect,
    run_on=("cpu",),
)
def cpu_affinity(build: Build, choice: str) -> None:
    """Each thread of PyTorch kept to a core: to neighbours, or as far from each other as can be."""
    if os.environ.get("OMP_PROC_BIND") != choice:
        variables = " ".join(f"{name}={value}" for name, value in bound(choice).items())
        warnings.warn(
            f"this was tuned with bound threads: start Python with {variables} to have them",
            stacklevel=2,
        )
