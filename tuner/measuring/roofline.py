"""The roofline: the work of a call, the peaks of the machine, and the share that is reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from search_space.build import PARTS, Build, Entry
from search_space.trial import Trial

SIZE = {"cpu": 2048}
"""The side of the matrices that a peak is measured with: a product is 17 GFLOP, a tenth of a second
in fp32 on two cores at 195 GFLOP/s. Larger ones would take longer for the same rate."""

SIZE_ACCELERATOR = 8192
"""A smaller product does not keep a large GPU busy; this one is 1.1 TFLOP. Larger ones would take
more memory: in fp32 its three matrices are 256 MiB each."""

COPIED_BYTES = 2**28
"""More than the caches of most processors hold, so that memory is what is timed. More would be
surer of that and take more memory: source and target are half a GiB."""

AT_LEAST_S = 0.15
"""A peak is the best of the runs that fit in this time, and of three at least."""

AT_MOST_S = 1.0
"""After so long a single run is enough: the machine is busy, or lacks the dtype's instructions, and
a better peak is not worth the wait."""

FLOPS = "_flops_per_s"
ASKED = ("flops", "weights_read")
"""What a call asks for; the other figures are what the machine can do."""

# What a weight takes in each dtype.
ITEM_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def reached(work: Mapping[str, float], latency_s: float | None) -> dict[str, Any]:
    """The share of the roofline that a latency reaches, and which limit it is; None if unknown.

    The limit is the time that the fastest dtype of the machine needs for the products of a call,
    or the time to read its weights once for each use, whichever is longer.
    """
    peaks = {name.removesuffix(FLOPS): peak for name, peak in work.items() if name.endswith(FLOPS)}
    if latency_s is None or not peaks or not work.get("flops"):
        return {"utilization": None, "peak": None}
    dtype = max(peaks, key=lambda name: peaks[name])
    read_bytes = work["weights_read"] * ITEM_BYTES[dtype]
    limits_s = {
        f"{dtype} peak": work["flops"] / peaks[dtype],
        f"memory bandwidth in {dtype}": read_bytes / work["copied_bytes_per_s"],
    }
    limit = max(limits_s, key=lambda name: limits_s[name])
    return {"utilization": limits_s[limit] / latency_s, "peak": limit}


def work_of_trials(trials: Iterable[Trial]) -> Mapping[str, float]:
    """The work of the time of a latency, and the peaks of the machine.

    It is known by the latest of these trials that has counted it.
    """
    measurements = [trial.measurement for trial in trials]
    measurement = next(
        (measurement for measurement in reversed(measurements) if measurement and measurement.work),
        None,
    )
    if measurement is None:
        return {}
    call_work = {
        name: measurement.work[name] / measurement.counted
        for name in ASKED
        if name in measurement.work
    }
    return {**measurement.work, **call_work}


def work_of(build: Build) -> dict[str, float]:
    """The work of one call, and the peaks of the machine.

    Empty where it cannot be counted: the trial stands without it, and the log says why.
    """
    try:
        return work_of_call(build) | peaks_of(build.device)
    except Exception:
        import traceback

        traceback.print_exc()
        return {}


def work_of_call(build: Build) -> dict[str, float]:
    """The floating-point operations of one call, and how many weights it reads.

    Each model runs once for each kind of input, and counts as often as it is called.
    """
    total = dict.fromkeys(ASKED, 0.0)
    entries = [entry for part in PARTS for entry in build.entries(part)]
    restores = [entry.replace(_counted(entry, total)) for entry in entries]
    try:
        build.pipe(**build.call)
    finally:
        for restore in restores:
            restore()
    return total


def _counted(entry: Entry, total: dict[str, float]) -> Callable[..., Any]:
    from torch.utils import _pytree as pytree

    function, counts = entry.function, {}

    def called(*args: Any, **kwargs: Any) -> Any:
        leaves = pytree.tree_leaves((args, kwargs))
        kind = repr([getattr(leaf, "shape", None) for leaf in leaves])
        if kind not in counts:
            counts[kind] = counted_call(function, args, kwargs)
        flops, output = counts[kind]
        total["flops"] += flops
        total["weights_read"] += weights(entry)
        return output

    return called


def counted_call(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[int, Any]:
    """The floating-point operations of a call, and its output."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    count: Callable[..., int] = sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *others: Any, **options: Any) -> int:
        return count(query, key, value)

    # The counter knows the attention kernels of CUDA alone.
    on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    with FlopCounterMode(display=False, custom_mapping=on_cpu) as counter:
        output = function(*args, **kwargs)
    return counter.get_total_flops(), output


def weights(entry: Entry) -> int:
    """How many weights the model reads at each call: of an embedding it is a few rows only."""
    import torch

    decoder = [getattr(entry.owner, name, None) for name in ("decoder", "post_quant_conv")]
    parts = [entry.owner] if entry.attribute == "forward" else [part for part in decoder if part]
    modules = [module for part in parts for module in part.modules()]
    return sum(
        parameter.numel()
        for module in modules
        if not isinstance(module, torch.nn.Embedding)
        for parameter in module.parameters(recurse=False)
    )


def peaks_of(device: str) -> dict[str, float]:
    """The peaks of the machine: products in each dtype of its hardware, and copying."""
    import torch

    from search_space.hardware.detect import native_dtypes

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    with torch.inference_mode():
        products = {
            name + FLOPS: products_per_s(device, dtypes[name]) for name in native_dtypes(device)
        }
        return products | {"copied_bytes_per_s": copied_bytes_per_s(device)}


def products_per_s(device: str, dtype: Any) -> float:
    """Floating-point operations a second of a large matrix product, as a linear layer makes it."""
    import torch

    size = SIZE.get(device, SIZE_ACCELERATOR)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    run_s = fastest_s(device, lambda: torch.nn.functional.linear(left, right))
    return 2 * size**3 / run_s


def copied_bytes_per_s(device: str) -> float:
    """Bytes a second that are read and written by copying more than any cache holds."""
    import torch

    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / fastest_s(device, lambda: target.copy_(source))


def fastest_s(device: str, run: Callable[[], object]) -> float:
    """The shortest of a few runs, after one that counts only where it takes long."""
    from tuner.measuring.calls import synchronize

    first_s = time.perf_counter()
    run()
    synchronize(device)
    first_s = time.perf_counter() - first_s
    if first_s > AT_MOST_S:
        return first_s
    runs_s: list[float] = []
    while sum(runs_s) < AT_LEAST_S or (len(runs_s) < 3 and sum(runs_s) < AT_MOST_S):
        began_s = time.perf_counter()
        run()
        synchronize(device)
        runs_s.append(time.perf_counter() - began_s)
    return min(runs_s)
