"""What a pipeline was built for, and what happens in another call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_space.config import Config, final_call, steps
from search_space.shapes import Shapes
from search_space.workload import Workload


@dataclass(frozen=True)
class Coverage:
    """The size and batch that a pipeline was built for, None where its own defaults hold.

    ``by_size`` and ``by_batch`` name the choices that depend on them, and how.
    """

    height: int | None
    width: int | None
    num_frames: int | None
    batch_size: int
    by_size: Mapping[str, Shapes]
    by_batch: Mapping[str, Shapes]

    @classmethod
    def of(
        cls, config: Config, workload: Workload, defaults: Mapping[str, Any] | None = None
    ) -> Coverage:
        """The coverage of a config built for a workload; ``defaults`` are the pipeline's own."""
        filled = workload.filled(defaults or {})
        prompt = final_call(config, workload.call()).get("prompt")
        shapes = {
            f"{step.name}={step.choice.value}": step.choice.shapes
            for step in steps(config)
            if step.choice.shapes is not Shapes.ANY
        }
        # Whatever the size of the image, the prompt has the same length.
        sized = {name: kind for name, kind in shapes.items() if not name.startswith("text_encoder")}
        return cls(
            filled.height_px,
            filled.width_px,
            filled.num_frames,
            len(prompt) if isinstance(prompt, list) else 1,
            sized,
            shapes,
        )

    @property
    def has_limits(self) -> bool:
        """Whether there are calls that it does not cover."""
        return bool(self.by_batch)

    def beyond(
        self,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        batch_size: int | None = None,
    ) -> tuple[Shapes, str] | None:
        """What a call of this size and batch does, and the sentence; None where it is covered."""
        asked = {"height": height, "width": width, "num_frames": num_frames}
        built = {"height": self.height, "width": self.width, "num_frames": self.num_frames}
        differences = {
            name: value
            for name, value in asked.items()
            if value is not None and value != built[name]
        }
        affected = dict(self.by_size) if differences else {}
        other_batch = batch_size is not None and batch_size != self.batch_size
        if other_batch and batch_size is not None:
            differences["batch_size"] = batch_size
            built["batch_size"] = self.batch_size
            affected |= self.by_batch
        if not affected:
            return None
        kind = Shapes.FIXED if Shapes.FIXED in affected.values() else Shapes.RECOMPILED
        guilty = ", ".join(name for name, shapes in affected.items() if shapes is kind)
        call = ", ".join(f"{name}={value}" for name, value in differences.items())
        made = ", ".join(f"{name}={built[name] or 'default'}" for name in differences)
        return kind, f"a call with {call} {ENDS[kind].format(guilty=guilty, made=made)}"


ENDS = {
    Shapes.FIXED: (
        "fails: {guilty} was built for {made}; tune for it, or give the size to tuner.load"
    ),
    Shapes.RECOMPILED: "compiles again, which takes time: {guilty} was built for {made}",
}
