"""The typical effect of each choice, around which each synthetic machine draws its own.

Factors of the seconds of text encoding, of a step and of the decode. Where a figure was measured by
this project the reason says so; the others are judged from what the choice does, so that what a
search finds hard is as it is found on real machines: a few large effects, many small ones, and
harmful ones among both.
"""

from __future__ import annotations

from typing import NamedTuple


class Effect(NamedTuple):
    """The factors by part, and why they are typical."""

    text_encoding: float
    step: float
    decode: float
    why: str


CPU = {
    "allocator=tcmalloc": Effect(0.98, 0.95, 0.88, "large blocks stay with the process"),
    "allocator=jemalloc": Effect(0.98, 0.95, 0.89, "as tcmalloc"),
    "allocator=system-kept": Effect(0.98, 0.95, 0.86, "no page is asked for anew: measured"),
    "cpu_affinity=close": Effect(0.99, 0.97, 0.98, "threads keep their caches"),
    "cpu_affinity=spread": Effect(1.02, 1.04, 1.03, "threads no longer share a cache"),
    "threads=half": Effect(1.05, 1.1, 1.1, "fewer real cores"),
    "threads=every-logical-core": Effect(1.05, 1.08, 1.08, "two threads share a core's units"),
    "float32_matmul=bf16": Effect(0.8, 0.68, 0.9, "products in bf16 inside fp32 layers"),
    "precision=bf16": Effect(0.6, 0.48, 0.6, "1.8 to 2.4 times as fast on AVX512-BF16: measured"),
    "precision=fp16": Effect(3.0, 6.0, 4.0, "emulated without native fp16: measured far worse"),
    "quantization=torchao-int8-weights": Effect(1, 1.2, 1, "weights are widened in each call"),
    "quantization=torchao-int8-dynamic": Effect(1, 0.8, 1, "int8 products, activations scanned"),
    "quantization=bnb-int8": Effect(1, 1.6, 1, "no kernel made for a CPU"),
    "attention=plain": Effect(1, 1.15, 1, "the matrix of scores is written and read"),
    "attention=sdpa-math": Effect(1, 1.15, 1.05, "as plain, in the operator"),
    "attention=native-math": Effect(1, 1.15, 1, "as plain, in the operator"),
    "attention=flex": Effect(1, 1.5, 1, "eager Flex Attention keeps the scores"),
    "engine=compile-regional": Effect(1, 0.88, 1, "fused pointwise operators within a block"),
    "engine=compile-default": Effect(1, 0.84, 1, "fused pointwise operators"),
    "engine=compile-max-autotune": Effect(1, 0.82, 1, "templates chosen by timing"),
    "engine=compile-openvino": Effect(1, 0.58, 1, "OpenVINO's kernels behind dynamo"),
    "engine=onnxruntime": Effect(1, 0.96, 1, "as fast as PyTorch: measured"),
    "engine=onnxruntime-int8-dynamic": Effect(1, 0.7, 1, "int8 products on VNNI"),
    "engine=openvino": Effect(1, 0.46, 1, "2.2 times as fast: measured"),
    "engine=openvino-bf16": Effect(1, 0.25, 1, "4 times as fast: measured"),
    "engine=openvino-int8-weights": Effect(1, 0.42, 1, "products still in floating point"),
    "engine=openvino-int8": Effect(1, 0.15, 1, "7 times as fast: measured"),
    "text_encoder_engine=compile": Effect(0.85, 1, 1, "fused pointwise operators"),
    "text_encoder_engine=onnxruntime": Effect(0.9, 1, 1, "fused layers"),
    "text_encoder_engine=openvino": Effect(0.6, 1, 1, "as for the denoiser"),
    "text_encoder_engine=openvino-bf16": Effect(0.4, 1, 1, "as for the denoiser"),
    "vae_engine=compile": Effect(1, 1, 0.78, "fused pointwise operators"),
    "vae_engine=onnxruntime": Effect(1, 1, 0.95, "as for the denoiser"),
    "vae_engine=openvino": Effect(1, 1, 0.5, "blocked layouts of convolutions"),
    "vae_engine=openvino-bf16": Effect(1, 1, 0.28, "blocked layouts, half the bytes"),
    "inductor=freezing": Effect(0.95, 0.7, 0.8, "weights packed once: 3.6 against 2.4, measured"),
    "memory_format=channels_last": Effect(1, 0.88, 0.78, "the layout of fast convolutions"),
    "vae_precision=bf16": Effect(1, 1, 0.62, "as precision, for the decode alone"),
}

CUDA = {
    "cudnn_benchmark=on": Effect(1, 0.97, 0.9, "the fastest algorithm for each convolution"),
    "float32_matmul=tf32": Effect(0.75, 0.6, 0.85, "tensor cores for fp32 layers"),
    "precision=bf16": Effect(0.5, 0.42, 0.5, "tensor cores, half the bytes"),
    "precision=fp16": Effect(0.5, 0.4, 0.48, "tensor cores, half the bytes"),
    "quantization=torchao-int8-weights": Effect(1, 1.25, 1, "weights are widened in each call"),
    "quantization=torchao-int8-dynamic": Effect(1, 0.8, 1, "int8 tensor cores"),
    "quantization=torchao-fp8-weights": Effect(1, 1.15, 1, "weights are widened in each call"),
    "quantization=torchao-fp8-dynamic": Effect(1, 0.62, 1, "fp8 tensor cores"),
    "quantization=bnb-int8": Effect(1, 1.7, 1, "outliers are multiplied apart"),
    "attention=plain": Effect(1, 1.5, 1, "the matrix of scores goes through memory"),
    "attention=sdpa-math": Effect(1, 1.6, 1.1, "as plain, in the operator"),
    "attention=sdpa-flash": Effect(1, 0.98, 1, "often what the operator takes by itself"),
    "attention=sdpa-efficient": Effect(1, 1.05, 1, "the older kernel"),
    "attention=sdpa-cudnn": Effect(1, 0.9, 1, "the newest kernel"),
    "attention=xformers": Effect(1, 0.99, 1, "as memory-efficient attention"),
    "attention=native-math": Effect(1, 1.6, 1, "as plain, in the operator"),
    "attention=native-flash": Effect(1, 0.98, 1, "often what the operator takes by itself"),
    "attention=native-cudnn": Effect(1, 0.9, 1, "the newest kernel"),
    "attention=sage": Effect(1, 0.78, 1, "int8 scores"),
    "attention=flash-3": Effect(1, 0.85, 1, "made for the newest cards"),
    "engine=compile-regional": Effect(1, 0.8, 1, "fused pointwise operators within a block"),
    "engine=compile-default": Effect(1, 0.76, 1, "fused pointwise operators"),
    "engine=compile-reduce-overhead": Effect(1, 0.73, 1, "CUDA graphs: no launch is waited for"),
    "engine=compile-max-autotune": Effect(1, 0.68, 1, "templates chosen by timing, CUDA graphs"),
    "engine=onnxruntime": Effect(1, 0.95, 1, "few fusions for diffusion"),
    "engine=onnxruntime-tensorrt": Effect(1, 0.35, 1, "kernels chosen by timing, half precision"),
    "text_encoder_engine=compile": Effect(0.8, 1, 1, "fused pointwise operators"),
    "text_encoder_engine=onnxruntime": Effect(0.95, 1, 1, "few fusions"),
    "text_encoder_engine=onnxruntime-tensorrt": Effect(0.5, 1, 1, "as for the denoiser"),
    "vae_engine=compile": Effect(1, 1, 0.75, "fused pointwise operators"),
    "vae_engine=onnxruntime": Effect(1, 1, 0.95, "few fusions"),
    "vae_engine=onnxruntime-tensorrt": Effect(1, 1, 0.4, "as for the denoiser"),
    "inductor=coordinate-descent": Effect(1, 0.95, 0.96, "tiles tuned further"),
    "memory_format=channels_last": Effect(1, 0.9, 0.8, "the layout of tensor cores"),
    "vae_precision=bf16": Effect(1, 1, 0.5, "as precision, for the decode alone"),
    "vae_precision=fp16": Effect(1, 1, 0.48, "as precision, for the decode alone"),
    "placement=model-offload": Effect(1.6, 1.05, 1.25, "each model is moved once a call"),
    "placement=sequential-offload": Effect(3, 4, 2.5, "each layer is moved in each step"),
    "placement=group-offload-leaf": Effect(2, 2.4, 1.8, "each layer is moved in each step"),
    "placement=group-offload-leaf-stream": Effect(1.5, 1.3, 1.3, "moved while others compute"),
}

ANYWHERE = {
    "fused_projections=on": Effect(1, 0.97, 1, "one product in the place of three"),
    "attention_slicing=auto": Effect(1, 1.1, 1, "half of the heads at a time"),
    "attention_slicing=max": Effect(1, 1.4, 1, "one head at a time"),
    "vae_precision=fp32": Effect(1, 1, 1.7, "the decode widened again"),
    "vae_slicing=on": Effect(1, 1, 1.03, "images one by one"),
    "vae_tiling=on": Effect(1, 1, 1.15, "overlaps are decoded twice"),
    "layerwise_casting=fp8-e4m3": Effect(1, 1.2, 1, "each layer is widened before it runs"),
    "cache=deepcache-2": Effect(1, 0.62, 1, "inner blocks in every second step"),
    "cache=deepcache-3": Effect(1, 0.5, 1, "inner blocks in every third step"),
    "cache=first-block-0.05": Effect(1, 0.8, 1, "steps that change little are skipped"),
    "cache=first-block-0.1": Effect(1, 0.65, 1, "steps that change little are skipped"),
    "cache=taylorseer-lite-3": Effect(1, 0.45, 1, "two of three steps are extrapolated"),
    "cache=dual-block-0.08": Effect(1, 0.75, 1, "steps that change little are skipped"),
    "cache=dual-block-0.16": Effect(1, 0.6, 1, "steps that change little are skipped"),
}

WITHOUT_CONVOLUTIONS = {
    "memory_format=channels_last": Effect(1, 1, 0.8, "a transformer has no convolutions"),
    "cudnn_benchmark=on": Effect(1, 1, 0.9, "a transformer has no convolutions"),
}
"""For diffusion transformers in the place of the device's."""


def typical(device: str, is_transformer: bool) -> dict[str, Effect]:
    """The effects of a kind of machine and pipeline."""
    own = CPU if device == "cpu" else CUDA
    denoiser = WITHOUT_CONVOLUTIONS if is_transformer else {}
    return {**ANYWHERE, **own, **{name: denoiser[name] for name in denoiser if name in own}}
