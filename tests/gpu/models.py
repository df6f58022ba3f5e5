"""The pipelines that are measured: at full size on a device, small ones where a run is dry.

    python -m tests.gpu.models NAME FOLDER [--small]

builds one below a folder, as `tests.gpu.measure` has it done beside others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search_space.workload import Workload
from tuner import reference
from tuner.reference import vae
from tuner.reference.flux import FLUX_TINY
from tuner.reference.recipe import Recipe
from tuner.reference.sd3 import SD3_TINY

STEPS = 4


def flux(small: bool) -> Recipe:
    """Flux with blocks as wide as published, a few of them, and small text encoders."""
    heads = 2 if small else 24
    transformer = {
        "num_layers": 1,  # published: 19
        "num_single_layers": 1 if small else 3,  # published: 38
        "attention_head_dim": 128,
        "num_attention_heads": heads,
        "axes_dims_rope": (16, 56, 56),
    }
    return _sized(FLUX_TINY, transformer, small)


def sd3(small: bool) -> Recipe:
    """Stable Diffusion 3 medium with a quarter of its blocks, and small text encoders."""
    heads = 2 if small else 24
    transformer = {
        "sample_size": 16 if small else 128,
        "pos_embed_max_size": 32 if small else 192,
        "num_layers": 2 if small else 6,  # published: 24
        "num_attention_heads": heads,
        "caption_projection_dim": 64 * heads,
    }
    return _sized(SD3_TINY, transformer, small)


def _sized(tiny: Recipe, transformer: Mapping[str, Any], small: bool) -> Recipe:
    """The tiny recipe with another transformer, and at full size with the published VAE."""
    parts = {"transformer": transformer}
    if not small:
        parts["vae"] = {"block_out_channels": vae.FULL, "sample_size": 1024}
    sized = {
        name: replace(part, config={**part.config, **parts[name]}) if name in parts else part
        for name, part in tiny.parts.items()
    }
    return replace(tiny, parts=sized)


@dataclass(frozen=True)
class Model:
    """A pipeline and the call that is measured; without a ``recipe`` it is one of the references.

    ``small_px`` is the side of an image where a run is dry.
    """

    name: str
    side_px: int
    recipe: Callable[[bool], Recipe] | None = None
    small_px: int = 64

    def workload(self, cache: Path, small: bool) -> Workload:
        """The call, of a pipeline that is built if it is not there."""
        if self.recipe is None:
            model = f"reference:{self._reference(small)}"
        else:
            model = str(self.build(cache, small))
        side_px = self.call(small)["side_px"]
        return Workload(model, height_px=side_px, width_px=side_px, steps=STEPS)

    def call(self, small: bool) -> dict[str, int]:
        """The call, as rows tell it."""
        return {"side_px": self.small_px if small else self.side_px, "steps": STEPS}

    def build(self, cache: Path, small: bool) -> Path:
        """Its folder, made if it is not there."""
        if self.recipe is None:
            return reference.build(self._reference(small), cache)
        name = f"{self.name}-small" if small else self.name
        return reference.build_recipe(name, self.recipe(small), cache)

    def _reference(self, small: bool) -> str:
        return f"{self.name}-tiny" if small else self.name


ALL = (
    Model("sd15", 512),
    Model("sdxl", 1024),
    Model("flux-mid", 1024, flux),
    Model("sd3-mid", 1024, sd3),
)
MODELS = {model.name: model for model in ALL}


def main() -> None:
    """Build one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    print(MODELS[asked.name].build(asked.folder, asked.small))


if __name__ == "__main__":
    main()
