"""Described pipelines, as their specs are read from the published models."""

from __future__ import annotations

from dataclasses import dataclass

from search_space.pipeline.spec import Component, PipelineSpec


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, and the parameters of its text encoders, which its spec does not count."""

    spec: PipelineSpec
    text_parameters: int
    is_transformer: bool


PROCESSOR = ("AttnProcessor2_0",)


def autoencoder(class_name: str = "AutoencoderKL", **facts: object) -> Component:
    known: dict[str, object] = {
        "convolutions": 62,
        "weight_rank": 4,
        "attention_processors": PROCESSOR,
        "calls_sdpa": True,
        "head_size": 512,
        "fuses_projections": True,
        "groups_offload": True,
        "slices": True,
        "tiles": True,
        "tile_px": 512,
    }
    return Component("vae", class_name, 83_653_863, **{**known, **facts})  # type: ignore[arg-type]


def unet(parameters: int, convolutions: int) -> Component:
    return Component(
        "unet",
        "UNet2DConditionModel",
        parameters,
        convolutions,
        4,
        PROCESSOR,
        slices_attention=True,
        calls_sdpa=True,
        head_size=64,
        fuses_projections=True,
        groups_offload=True,
        repeats_blocks=True,
    )


def transformer(class_name: str, parameters: int, **facts: object) -> Component:
    known: dict[str, object] = {
        "weight_rank": 2,
        "dispatches_attention": True,
        "head_size": 64,
        "fuses_projections": True,
        "groups_offload": True,
        "repeats_blocks": True,
    }
    return Component("transformer", class_name, parameters, **{**known, **facts})  # type: ignore[arg-type]


def pipeline(
    class_name: str, denoiser: Component, vae: Component, text_parameters: int, **facts: object
) -> Pipeline:
    spec = PipelineSpec(
        f"described/{class_name}",
        class_name,
        f"b2:{class_name}",
        (denoiser,),
        vae,
        ("text_encoder",),
        offloads=True,
        call_parameters=("prompt", "height", "width", "num_inference_steps", "guidance_scale"),
        size_multiple_px=16,
        defaults={"height_px": 1024, "width_px": 1024, "steps": 30},
        **facts,  # type: ignore[arg-type]
    )
    return Pipeline(spec, text_parameters, denoiser.name == "transformer")


PIPELINES: tuple[Pipeline, ...] = (
    pipeline("StableDiffusionPipeline", unet(859_520_964, 98), autoencoder(), 123_060_480),
    pipeline(
        "FluxPipeline",
        transformer(
            "FluxTransformer2DModel",
            11_901_408_320,
            attention_processors=("FluxAttnProcessor",),
            step_caches=("first-block", "mag", "pyramid", "taylorseer", "taylorseer-lite"),
        ),
        autoencoder(),
        4_885_370_880,
        sets_cache_context=True,
    ),
    pipeline(
        "StableDiffusionXLPipeline",
        unet(2_567_463_684, 72),
        autoencoder(),
        817_720_320,
        upcasts_vae=True,
    ),
    pipeline(
        "StableDiffusion3Pipeline",
        transformer(
            "SD3Transformer2DModel",
            2_084_951_104,
            convolutions=1,
            weight_rank=4,
            attention_processors=("JointAttnProcessor2_0",),
            dispatches_attention=False,
            calls_sdpa=True,
            repeats_blocks=False,
        ),
        autoencoder(),
        5_584_000_000,
    ),
    pipeline(
        "WanPipeline",
        transformer(
            "WanTransformer3DModel",
            1_418_996_800,
            weight_rank=5,
            attention_processors=("WanAttnProcessor",),
            step_caches=("first-block", "mag", "pyramid", "taylorseer-lite"),
            keeps_in_fp32=True,
        ),
        autoencoder("AutoencoderKLWan", convolutions=10, weight_rank=5, tile_px=256),
        5_680_910_336,
        sets_cache_context=True,
        guides_apart=True,
        predicts_flow=True,
        frame_multiple=4,
    ),
)
"""UNets and diffusion transformers in turn; parameters as published."""
