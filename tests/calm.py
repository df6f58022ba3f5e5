"""A reference pipeline whose denoiser hardly sees which step it is."""

from __future__ import annotations

from pathlib import Path


def save_calm(reference_folder: Path, folder: Path) -> Path:
    """Save the calm variant of a pipeline.

    To random weights each step is as another model. Trained ones change little from one to the
    next, which is what a cache lives on.
    """
    import torch
    from diffusers import DiffusionPipeline
    from diffusers.models.embeddings import TimestepEmbedding

    pipe = DiffusionPipeline.from_pretrained(reference_folder)
    models = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    for part in (part for model in models for part in model.modules()):
        if isinstance(part, TimestepEmbedding):
            part.linear_1.weight.data *= 0.02
    pipe.save_pretrained(folder)
    return folder
