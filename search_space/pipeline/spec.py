"""The spec of a pipeline, read from ``model_index.json`` and classes, not from weights."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from search_space.errors import ModelError
from search_space.pipeline import attention_layers, sizes, step_caches
from search_space.pipeline.folder import (
    check_weights,
    files_fingerprint,
    json_object,
    named,
    read_index,
)
from search_space.pipeline.libraries import check_libraries, class_names

SIZES = range(-(2**27), 2**27)
"""The integers of a model's config: a list that long takes a GiB. What is larger counts nothing."""

MOST_PARTS = 50_000
"""Modules and weights of one model. The largest of diffusers 0.42 by its own defaults has 9,290; a
config that asks for a billion layers would be built for ever."""


@dataclass(frozen=True)
class Component:
    """One diffusers model of the pipeline, as far as knobs ask about it.

    ``weight_rank`` is the largest number of dimensions of a parameter; ``tile_px`` is the size up
    to which VAE tiling does nothing; ``head_size`` is the width of the widest attention head.
    ``dispatches_attention`` and ``calls_sdpa`` say by which way attention can be given another
    kernel, ``fuses_projections`` whether fusing them acts and keeps the result. ``step_caches`` are
    those of diffusers that find something to hook.
    """

    name: str
    class_name: str
    parameters: int
    convolutions: int = 0
    weight_rank: int = 0
    attention_processors: tuple[str, ...] = ()
    slices_attention: bool = False
    dispatches_attention: bool = False
    calls_sdpa: bool = False
    masks_attention: bool = False
    head_size: int = 0
    fuses_projections: bool = False
    step_caches: tuple[str, ...] = ()
    groups_offload: bool = False
    keeps_in_fp32: bool = False
    repeats_blocks: bool = False
    slices: bool = False
    tiles: bool = False
    tile_px: int | None = None


@dataclass(frozen=True)
class PipelineSpec:
    """A pipeline's parts and the limits of its call; ``folder`` is where its files lie.

    ``size_multiple_px`` and ``frame_multiple`` say which sizes the pipeline accepts; ``defaults``
    holds the figures that the pipeline takes where the workload leaves them open. ``schedulers``
    are the classes that can stand in the place of the pipeline's own, which is the first;
    ``predicts_flow`` says that this one has been told to work with flow.
    ``guides_apart`` says that guidance calls the denoiser a second time at each step, ``pickled``
    that weights are pickles, which the user has allowed.
    """

    folder: str
    class_name: str
    fingerprint: str
    denoisers: tuple[Component, ...] = ()
    vae: Component | None = None
    text_encoders: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    predicts_flow: bool = False
    offloads: bool = False
    sets_cache_context: bool = False
    guides_apart: bool = False
    upcasts_vae: bool = False
    classes: tuple[str, ...] = ()
    call_parameters: tuple[str, ...] = ()
    size_multiple_px: int = 1
    frame_multiple: int = 1
    defaults: Mapping[str, int] = field(default_factory=dict)
    pickled: bool = False

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> PipelineSpec:
        """The inverse of ``dataclasses.asdict``."""
        fields = dict(facts)
        fields["denoisers"] = tuple(_component(part) for part in facts["denoisers"])
        fields["vae"] = _component(facts["vae"]) if facts["vae"] else None
        for name in ("text_encoders", "schedulers", "classes", "call_parameters"):
            fields[name] = tuple(facts[name])
        return cls(**fields)


def _component(facts: Mapping[str, Any]) -> Component:
    names = ("attention_processors", "step_caches")
    return Component(**{**facts, **{name: tuple(facts[name]) for name in names}})


def read_spec(folder: Path, allow_pickle: bool = False) -> PipelineSpec:
    """Read the spec of a diffusers folder; raises ModelError. Models are made without weights.

    Weights that are pickles are refused, unless they are allowed.
    """
    index = read_index(folder)
    try:
        check_libraries(folder, index)
        pickled = check_weights(folder, index, allow_pickle)
        return replace(_spec(folder, index), pickled=pickled)
    except ModelError:
        raise
    except Exception as error:
        # What a config makes of the code of diffusers, and of ours that looks at it, has no end.
        raise ModelError(
            f"{folder} cannot be read as a pipeline ({_reason(error)}): "
            "fetch the model again or pip install --upgrade diffusers"
        ) from error


def _spec(folder: Path, index: Mapping[str, Any]) -> PipelineSpec:
    pipeline_class = _diffusers_class(folder, index.get("_class_name"))
    models = dict(_models(folder, index))
    denoisers = {name: model for name, model in models.items() if _is_denoiser(model)}
    vae = next((models[name] for name in ("vae", "movq", "vqvae") if name in models), None)
    if not denoisers:
        raise ModelError(f"{folder} has no denoiser (a UNet or a transformer): it cannot be tuned")
    call = inspect.signature(pipeline_class.__call__).parameters
    first = next(iter(denoisers.values()))
    source = attention_layers.source_of(sys.modules[pipeline_class.__module__])
    masks = attention_layers.passes_masks(source)
    return PipelineSpec(
        folder=str(folder),
        class_name=pipeline_class.__name__,
        fingerprint=files_fingerprint(folder),
        denoisers=tuple(_describe(name, model, masks) for name, model in denoisers.items()),
        vae=_describe("vae", vae) if vae is not None else None,
        text_encoders=tuple(name for name, part in index.items() if _is_text_encoder(name, part)),
        schedulers=_schedulers(folder, index),
        predicts_flow=_predicts_flow(folder),
        offloads=bool(getattr(pipeline_class, "model_cpu_offload_seq", None)),
        sets_cache_context="cache_context" in source,
        guides_apart=step_caches.guides_apart(source, call),
        upcasts_vae="force_upcast" in source and bool(vae and vae.config.get("force_upcast")),
        classes=tuple(sorted(class_names(index))),
        call_parameters=tuple(call),
        size_multiple_px=sizes.spatial_factor(vae) * sizes.token_side(first, vae),
        frame_multiple=sizes.temporal_factor(vae) if "num_frames" in call else 1,
        defaults=sizes.defaults(call, first, vae),
    )


def _diffusers_class(folder: Path, name: object) -> Any:
    import diffusers

    kind = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not isinstance(kind, type) or not kind.__module__.startswith("diffusers."):
        raise ModelError(
            f"{folder} asks for the class {name!r}, which diffusers {diffusers.__version__} "
            "does not have: pip install --upgrade diffusers"
        )
    return kind


def _models(folder: Path, index: Mapping[str, Any]) -> list[tuple[str, Any]]:
    import torch
    from diffusers import ModelMixin

    models = []
    for name, part in index.items():
        if not (isinstance(part, list) and len(part) == 2 and part[0] == "diffusers"):
            continue
        model_class = _diffusers_class(folder, part[1])
        if issubclass(model_class, ModelMixin):
            with torch.device("meta"):
                models.append((name, _weightless(model_class, folder / name / "config.json")))
    return models


def _weightless(model_class: Any, path: Path) -> Any:
    config = json_object(path, SIZES)
    try:
        with _few_parts():
            return model_class.from_config(config)
    except Exception as error:
        raise ModelError(
            f"{path} does not suit {model_class.__name__} ({_reason(error)}): "
            "fetch the model again or pip install --upgrade diffusers"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]


@contextmanager
def _few_parts() -> Iterator[None]:
    """End the making of a model that has no end."""
    from torch.nn.modules import module

    counts = itertools.count(1)

    def count(*registered: object) -> None:
        if next(counts) > MOST_PARTS:
            raise ValueError(f"it has more than {MOST_PARTS} layers and weights")

    handles = (
        module.register_module_module_registration_hook(count),
        module.register_module_parameter_registration_hook(count),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_denoiser(model: Any) -> bool:
    return type(model).__module__.startswith(
        ("diffusers.models.transformers", "diffusers.models.unets")
    )


def _is_text_encoder(name: str, part: object) -> bool:
    return name.startswith("text_encoder") and named(part) is not None


def _schedulers(folder: Path, index: Mapping[str, Any]) -> tuple[str, ...]:
    part = named(index.get("scheduler"))
    if part is None:
        return ()
    own = _diffusers_class(folder, part[1])
    names = getattr(own, "_compatibles", ())
    return tuple(
        dict.fromkeys((own.__name__, *sorted(getattr(name, "name", name) for name in names)))
    )


def _predicts_flow(folder: Path) -> bool:
    path = folder / "scheduler" / "scheduler_config.json"
    return path.is_file() and json_object(path).get("prediction_type") == "flow_prediction"


def _describe(name: str, model: Any, masks_attention: bool = False) -> Component:
    import torch

    layers = attention_layers.attention_layers(model)
    tiles_px = [size_px for size_px in _tile_sizes(model) if size_px]
    return Component(
        name=name,
        class_name=type(model).__name__,
        parameters=sum(weight.numel() for weight in model.parameters()),
        convolutions=sum(isinstance(part, torch.nn.Conv2d) for part in model.modules()),
        weight_rank=max(weight.dim() for weight in model.parameters()),
        attention_processors=tuple(sorted({type(layer.processor).__name__ for layer in layers})),
        slices_attention=hasattr(model, "set_attention_slice"),
        dispatches_attention=any(map(attention_layers.dispatches, layers)),
        calls_sdpa=any(map(attention_layers.calls_sdpa, layers)),
        masks_attention=masks_attention,
        head_size=max(map(attention_layers.head_size, layers), default=0),
        fuses_projections=attention_layers.fuses_projections(model),
        step_caches=step_caches.suitable_caches(model),
        groups_offload=bool(getattr(model, "_supports_group_offloading", False)),
        keeps_in_fp32=bool(getattr(model, "_keep_in_fp32_modules", None)),
        repeats_blocks=bool(getattr(model, "_repeated_blocks", None)),
        slices=hasattr(model, "use_slicing"),
        tiles=hasattr(model, "use_tiling") and sizes.tiled_decode_name(model) is not None,
        tile_px=min(tiles_px) if tiles_px else None,
    )


def _tile_sizes(model: Any) -> list[int | None]:
    names = ("tile_sample_min_size", "tile_sample_min_height", "tile_sample_min_width")
    return [getattr(model, name, None) for name in names]
