"""What runs the denoiser. The other engines are declared in files of their own."""

from __future__ import annotations

from search_space.knob import STEP, Choice, Knob, Stage

engine = Knob(
    "engine",
    Stage.ENGINE,
    (Choice("eager"),),
    "What runs the denoiser: PyTorch step by step, a compiled graph, or another runtime.",
    parts=STEP,
)
