"""The pipeline in the making: the one object that knobs act on.

This file is copied into every emitted ``load.py``, so it imports nothing of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def silent(phase: str) -> None:
    """Tell nobody what is being done."""


@dataclass(frozen=True)
class Entry:
    """Where a pipeline enters one of its models: ``getattr(owner, attribute)`` is what it calls."""

    name: str
    owner: Any
    attribute: str

    @property
    def function(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self.owner, self.attribute)
        return function

    def replace(self, function: Callable[..., Any]) -> Callable[[], None]:
        """Have the pipeline call another function; returns the function that restores the first.

        The model itself stays the same object.
        """
        before = vars(self.owner).get(self.attribute)
        setattr(self.owner, self.attribute, function)

        def restore() -> None:
            if before is None:
                delattr(self.owner, self.attribute)
            else:
                setattr(self.owner, self.attribute, before)

        return restore


@dataclass(frozen=True)
class Example:
    """One call of a model as the pipeline made it; the tensors of ``output`` hold no data."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


@dataclass
class Build:
    """A pipeline in the making.

    ``call`` holds the arguments of the pipeline call that it is made for, ``load`` those of
    ``from_pretrained``; ``enter`` is told each phase (load, export …) as it begins; ``evidence`` is
    what knobs leave behind for their effect checks. ``placed`` says that a knob has put the models
    where they belong, ``compile_options`` what inductor is told beside its mode. ``pickled`` lets
    weights be read that are pickles.
    """

    model: str
    device: str
    call: dict[str, Any]
    cache_dir: Path
    enter: Callable[[str], None] = silent
    load: dict[str, Any] = field(default_factory=dict)
    pipe: Any = None
    placed: bool = False
    pickled: bool = False
    compile_options: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, Example] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)

    def load_pipeline(self) -> None:
        """Load the pipeline with the arguments that the knobs gathered.

        The dtype is named where no knob does: weights that were saved in fp16 would otherwise be
        widened by diffusers and left as they are by transformers, and do not multiply. Weights
        are data: a pickle, which can hold code, is refused unless the user has allowed it.
        """
        import torch
        from diffusers import DiffusionPipeline

        # Without a word diffusers takes pickles where there is nothing else, as data alone.
        safe = None if self.pickled else True
        options = {"dtype": torch.float32, "use_safetensors": safe, **self.load}
        self.pipe = DiffusionPipeline.from_pretrained(self.model, **options)

    def place(self) -> None:
        """Move the pipeline to the device, unless a knob has placed it."""
        if not self.placed:
            self.pipe.to(self.device)

    def denoisers(self) -> dict[str, Any]:
        """The UNets and transformers by name."""
        kinds = ("diffusers.models.transformers", "diffusers.models.unets")
        return {
            name: part
            for name, part in self.pipe.components.items()
            if type(part).__module__.startswith(kinds)
        }

    def text_encoders(self) -> dict[str, Any]:
        """The text encoders by name."""
        return {
            name: part
            for name, part in self.pipe.components.items()
            if name.startswith("text_encoder") and part is not None
        }

    def models(self) -> dict[str, Any]:
        """The denoisers and the VAE by name."""
        vae = getattr(self.pipe, "vae", None)
        return {**self.denoisers(), **({} if vae is None else {"vae": vae})}

    def entries(self, part: str) -> list[Entry]:
        """Where the pipeline enters its denoisers, its VAE decoder or its text encoders.

        ``part`` is ``engine``, ``vae_engine`` or ``text_encoder_engine``, as the knobs are called.
        """
        if part == "vae_engine":
            vae = getattr(self.pipe, "vae", None)
            return [] if vae is None else [Entry("vae", vae, "decode")]
        models = self.denoisers() if part == "engine" else self.text_encoders()
        return [Entry(name, model, "forward") for name, model in models.items()]

    def record(self) -> dict[str, Example]:
        """What each model of the pipeline is called with, by name, from one call.

        Each model runs once: to later calls it answers as to the first.
        """
        if self.examples:
            return self.examples
        self.enter("record")
        entries = [entry for part in PARTS for entry in self.entries(part)]
        outputs: dict[str, Any] = {}
        restores = [
            entry.replace(self._once(entry.name, entry.function, outputs)) for entry in entries
        ]
        try:
            self.pipe(**self.call)
        finally:
            for restore in restores:
                restore()
        return self.examples

    @contextmanager
    def recorded_inputs(
        self,
        calls: dict[str, list[tuple[Any, Any]]],
        parts: tuple[str, ...] = ("engine", "vae_engine"),
    ) -> Iterator[None]:
        """Add the arguments of every call of the first model of each part to ``calls`` by name."""
        entries = [entry for part in parts for entry in self.entries(part)[:1]]
        restores = [keeping(entry, calls.setdefault(entry.name, [])) for entry in entries]
        try:
            yield
        finally:
            for restore in restores:
                restore()

    def _once(
        self, name: str, function: Callable[..., Any], outputs: dict[str, Any]
    ) -> Callable[..., Any]:
        from torch.utils import _pytree as pytree

        def called(*args: Any, **kwargs: Any) -> Any:
            if name not in outputs:
                outputs[name] = function(*args, **kwargs)
                shape = pytree.tree_map(without_data, outputs[name])
                self.examples[name] = Example(args, kwargs, shape)
            return outputs[name]

        return called


PARTS = ("engine", "vae_engine", "text_encoder_engine")
"""The knobs that choose what runs the denoisers, the VAE decoder and the text encoders."""


def keeping(entry: Entry, calls: list[tuple[Any, Any]]) -> Callable[[], None]:
    """Add the arguments of each call of a model to a list; returns the function that ends that."""
    if entry.attribute == "forward":

        def keep(model: Any, args: Any, kwargs: Any) -> None:
            calls.append((args, kwargs))

        handle = entry.owner.register_forward_pre_hook(keep, with_kwargs=True)
        return lambda: handle.remove()
    decode = entry.function

    @functools.wraps(decode, updated=())
    def recording(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return decode(*args, **kwargs)

    return entry.replace(recording)


def without_data(leaf: Any) -> Any:
    """The shape and dtype of a tensor alone; anything else as it is."""
    import torch

    return leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf
