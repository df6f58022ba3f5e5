"""What runs the text encoders. The other engines are declared in files of their own."""

from __future__ import annotations

from search_space.knob import Choice, Knob, Stage

text_encoder_engine = Knob(
    "text_encoder_engine",
    Stage.ENGINE,
    (Choice("eager"),),
    "What runs the text encoders: PyTorch step by step, a compiled graph, or another runtime.",
    parts=("text_encoding",),
)
