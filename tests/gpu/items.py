"""What is to be measured, ordered by worth: each item with the seconds that it is expected to take.

The seconds were estimated for an H200 at full size. A session goes by them until it knows how much
longer its own machine takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from search_space.catalog import all_knobs
from search_space.config import Config
from search_space.space import Space

BF16 = {"precision": "bf16"}
IN_FLOAT32 = ("precision", "float32_matmul")
"""Knobs whose choices are run without bf16."""


@dataclass(frozen=True)
class Item:
    """One thing to measure of one model; ``part`` is its worth, 1 the highest.

    A ``default`` is the trial by which a session judges the others of its model, so none of an
    earlier session will do.
    """

    part: int
    kind: str
    model: str
    estimate_s: float
    config: Mapping[str, str] = field(default_factory=dict)
    number: int = 1

    @property
    def name(self) -> str:
        """What it is called in its rows, the same in every session."""
        of = Config(self.config).describe() if self.kind in WITH_CONFIG else ""
        number = str(self.number) if self.number > 1 else ""
        return " ".join(filter(None, (self.kind, self.model, of, number)))

    @property
    def cap_s(self) -> float:
        """After so long it is stopped, on a machine that is as fast as expected."""
        # A run that is stopped ends with what it has found, so it need not be left to run over.
        return 1.15 * self.estimate_s if self.kind == "tune" else 1.5 * self.estimate_s + 15.0

    @property
    def least_s(self) -> float:
        """With less time left it is not begun; a run makes do with fewer trials."""
        return 0.6 * self.estimate_s if self.kind == "tune" else self.estimate_s


WITH_CONFIG = ("trial", "memory", "repeat", "loop", "neighbour")
COMPARED = ("trial",)
"""Kinds of items that need the images and the time of the default."""


def planned(device: str) -> list[Item]:
    """Everything in order, but for the choices that nobody thought of."""
    return [*whole_runs(device), *never_run(), *truths(device)]


RUNS_S = {"sd15": 150.0, "sdxl": 200.0}
SMALL_RUN_S = 80.0
"""On a CPU, which stands in for a device with small pipelines."""


def whole_runs(device: str) -> Iterator[Item]:
    """A `tune run` with its race; and what it leaves behind, loaded as a user does."""
    for model, run_s in RUNS_S.items():
        yield Item(1, "tune", model, SMALL_RUN_S if device == "cpu" else run_s)
    for model, load_s in (("sd15", 40.0), ("sdxl", 60.0)):
        yield Item(1, "load", model, load_s)


REGIONAL = {"engine": "compile-regional"}
LAID_OUT = {**REGIONAL, "memory_format": "channels_last", "fused_projections": "on"}

# By model: what is changed beside bf16, and the seconds.
NEVER_RUN: dict[str, tuple[tuple[dict[str, str], float], ...]] = {
    "sd15": (
        ({}, 8.0),
        ({"engine": "compile-reduce-overhead"}, 60.0),
        ({"engine": "compile-default"}, 60.0),
        (LAID_OUT, 40.0),
        ({"vae_engine": "compile"}, 35.0),
        ({"placement": "group-offload-leaf-stream"}, 12.0),
        ({"placement": "group-offload-leaf"}, 20.0),
        ({**REGIONAL, "quantization": "torchao-fp8-dynamic"}, 40.0),
        ({**REGIONAL, "quantization": "torchao-int8-dynamic"}, 40.0),
        ({"quantization": "bnb-nf4"}, 12.0),
    ),
    "flux-mid": (
        ({}, 10.0),
        ({"attention": "native-cudnn"}, 10.0),
        ({"attention": "native-flash"}, 10.0),
        ({"attention": "native-efficient"}, 10.0),
        ({"attention": "native-math"}, 15.0),
        ({**REGIONAL}, 35.0),
        ({**REGIONAL, "attention": "flex"}, 45.0),
        ({**REGIONAL, "quantization": "torchao-fp8-dynamic"}, 40.0),
        ({**REGIONAL, "quantization": "torchao-int8-dynamic"}, 40.0),
        ({"quantization": "bnb-nf4"}, 12.0),
        ({"placement": "group-offload-leaf-stream"}, 15.0),
        ({"placement": "group-offload-block"}, 20.0),
    ),
    # It calls PyTorch's operator itself, not the dispatcher.
    "sd3-mid": (
        ({}, 10.0),
        ({"attention": "sdpa-cudnn"}, 10.0),
        ({"attention": "sdpa-flash"}, 10.0),
        ({"attention": "sdpa-efficient"}, 10.0),
        ({"attention": "sdpa-math"}, 15.0),
        ({"engine": "compile-reduce-overhead"}, 50.0),
    ),
    "sdxl": (
        ({}, 15.0),
        (LAID_OUT, 60.0),
        ({"vae_engine": "compile"}, 50.0),
        ({"placement": "model-offload"}, 30.0),
    ),
}
DEFAULTS_S = {"sd15": 10.0, "flux-mid": 20.0, "sd3-mid": 15.0, "sdxl": 45.0}
TUNED_FOR_LONG = ("compile-max-autotune-no-cudagraphs", "compile-max-autotune")
"""They try many kernels, which may take minutes."""


def never_run() -> Iterator[Item]:
    """Configs that no row shows to have run on a device, each model after its default."""
    for model, configs in NEVER_RUN.items():
        yield Item(2, "default", model, DEFAULTS_S[model])
        for config, trial_s in configs:
            yield Item(2, "trial", model, trial_s, BF16 | config)
    for engine in TUNED_FOR_LONG:
        yield Item(2, "trial", "sd15", 240.0, {**BF16, "engine": engine})


def truths(device: str) -> Iterator[Item]:
    """Whether what is measured is true: against itself, another account and another way."""
    for config in ({}, BF16):
        yield Item(3, "memory", "sd15", 15.0, config)
        yield Item(3, "loop", "sd15", 30.0, config)
    for number in range(1, 6):
        for config in (BF16, {}):
            yield Item(3, "repeat", "sd15", 10.0, config, number)
    if device in ("cuda", "cpu"):
        yield Item(3, "neighbour", "sd15", 30.0, BF16)


def the_rest(space: Space, model: str, shown: Iterable[str]) -> Iterator[Item]:
    """Each choice that is available for the model and that no row shows: in bf16, where it may."""
    for knob in all_knobs():
        for value in knob.values[1:]:
            if f"{knob.name}={value}" in shown or space.reason(knob, value):
                continue
            alone = space.supported({knob.name: value})
            both = space.supported({**BF16, knob.name: value})
            config = alone if knob.name in IN_FLOAT32 or space.clash(both) else both
            yield Item(4, "trial", model, 60.0 if "engine" in knob.name else 12.0, config)
