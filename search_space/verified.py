"""The choices that rows of tests/gpu/kept show to have run, by kind of device.

Written by ``python -m tests.gpu.page``, never by hand.
"""

from __future__ import annotations

from collections.abc import Mapping

VERIFIED: Mapping[str, tuple[str, ...]] = {
    "cuda": (
        "cudnn_benchmark=on",
        "float32_matmul=tf32",
        "precision=bf16",
        "precision=fp16",
        "scheduler=ddim",
        "scheduler=deis",
        "scheduler=dpm-multistep",
        "scheduler=dpm-singlestep",
        "scheduler=euler",
        "scheduler=unipc",
        "fused_projections=on",
        "quantization=torchao-int8-weights",
        "quantization=torchao-int8-dynamic",
        "quantization=torchao-fp8-weights",
        "quantization=torchao-fp8-dynamic",
        "quantization=torchao-int4-weights",
        "quantization=bnb-int8",
        "quantization=bnb-nf4",
        "layerwise_casting=fp8-e4m3",
        "layerwise_casting=fp8-e5m2",
        "attention=plain",
        "attention=sdpa-flash",
        "attention=sdpa-efficient",
        "attention=sdpa-cudnn",
        "attention=sdpa-math",
        "attention=xformers",
        "attention_slicing=auto",
        "attention_slicing=max",
        "vae_precision=fp32",
        "vae_precision=bf16",
        "vae_precision=fp16",
        "placement=model-offload",
        "placement=sequential-offload",
        "placement=group-offload-block",
        "placement=group-offload-leaf-stream",
        "memory_format=channels_last",
        "engine=compile-regional",
        "text_encoder_engine=compile",
    ),
}
