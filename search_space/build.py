"""The pipeline in the making: the one object that knobs act on.

This file is copied into every emitted ``load.py``, so it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def silent(phase: str) -> None:
    """Tell nobody what is being done."""


class StepDone(Exception):
    """Raised to leave the pipeline call once its first denoising step is recorded."""


@dataclass
class Build:
    """A pipeline in the making.

    ``call`` holds the arguments of the pipeline call that it is made for, ``load`` those of
    ``from_pretrained``; ``enter`` is told each phase (load, export …) as it begins; ``evidence`` is
    what knobs leave behind for their effect checks.
    """

    model: str
    device: str
    call: dict[str, Any]
    cache_dir: Path
    enter: Callable[[str], None] = silent
    load: dict[str, Any] = field(default_factory=dict)
    pipe: Any = None
    examples: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)

    def load_pipeline(self) -> None:
        """Load the pipeline with the arguments that the knobs gathered."""
        from diffusers import DiffusionPipeline

        self.pipe = DiffusionPipeline.from_pretrained(self.model, **self.load)

    def place(self) -> None:
        """Move the pipeline to the device."""
        self.pipe.to(self.device)

    def denoisers(self) -> dict[str, Any]:
        """The UNets and transformers of the pipeline by name."""
        kinds = ("diffusers.models.transformers", "diffusers.models.unets")
        return {
            name: part
            for name, part in self.pipe.components.items()
            if type(part).__module__.startswith(kinds)
        }

    def models(self) -> dict[str, Any]:
        """The denoisers and the VAE by name."""
        vae = getattr(self.pipe, "vae", None)
        return {**self.denoisers(), **({} if vae is None else {"vae": vae})}

    def record(self) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
        """Run one denoising step and keep the arguments that each denoiser was called with."""
        if self.examples:
            return self.examples
        self.enter("record")
        handles = [
            module.register_forward_hook(self._keep(name), with_kwargs=True)
            for name, module in self.denoisers().items()
        ]
        try:
            self.pipe(**self.call)
        except StepDone:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return self.examples

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            self.examples[name] = (args, kwargs)
            raise StepDone

        return hook
