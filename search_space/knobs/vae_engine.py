"""What runs the VAE's decoder. The other engines are declared in files of their own."""

from __future__ import annotations

from search_space.knob import DECODE, Choice, Knob, Stage

vae_engine = Knob(
    "vae_engine",
    Stage.ENGINE,
    (Choice("eager"),),
    "What runs the VAE's decoder: PyTorch step by step, a compiled graph, or another runtime.",
    parts=DECODE,
)
