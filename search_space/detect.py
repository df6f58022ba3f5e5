"""Find out what this computer is. Called in a process of its own: a probe may crash it."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from search_space.errors import UsageError
from search_space.knob import Probe
from search_space.machine import Machine

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "onnxscript",
    "xformers",
    "openvino",
    "torchao",
    "triton",
)
KINDS = ("cuda", "xpu", "hpu", "mps", "cpu")


def detect(device: str | None, probes: Mapping[str, Probe]) -> Machine:
    """The machine with ``device`` (cpu, cuda, mps, xpu, hpu), or the best one that works.

    Raises UsageError where the device asked for is not there.
    """
    found = device or next(kind for kind in KINDS if _absent(kind) is None)
    reason = _absent(found)
    if reason:
        raise UsageError(f"the device {found!r} cannot be used: {reason}")
    host_bytes = _host_bytes()
    name, device_bytes = _device(found)
    return Machine(
        device=found,
        device_name=name,
        device_bytes=device_bytes or host_bytes,
        host_bytes=host_bytes,
        cores=_cores(),
        system=f"{platform.system()} {platform.machine()}",
        native_dtypes=_native_dtypes(found),
        packages=_packages(),
        probes={name: probe(found) for name, probe in sorted(probes.items())},
    )


def _absent(kind: str) -> str | None:
    import torch

    if kind == "cpu":
        return None
    if kind not in KINDS:
        return f"there are {', '.join(KINDS)}"
    if kind == "hpu":
        with contextlib.suppress(ImportError):
            import habana_frameworks.torch  # type: ignore[import-not-found]  # noqa: F401
    module: Any = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    if module is None or not module.is_available():
        return f"this build of torch ({torch.__version__}) finds no {kind} device"
    return None


def _device(kind: str) -> tuple[str, int]:
    import torch

    if kind in ("cuda", "xpu"):
        properties = getattr(torch, kind).get_device_properties(0)
        return str(properties.name), int(properties.total_memory)
    if kind == "mps":
        return platform.processor() or "Apple GPU", int(torch.mps.recommended_max_memory())
    if kind == "hpu":
        return str(torch.hpu.get_device_name()), 0  # type: ignore[attr-defined]
    return _processor(), 0


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _host_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _native_dtypes(kind: str) -> tuple[str, ...]:
    import torch

    native = ["fp32"]
    if kind == "cpu":
        supported = {
            "bf16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
            "fp16": torch.ops.mkldnn._is_mkldnn_fp16_supported(),
        }
    elif kind == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        supported = {"bf16": bf16, "fp16": True}
    else:
        supported = {"bf16": kind != "mps", "fp16": kind != "hpu"}
    return tuple(native + [name for name, native_here in supported.items() if native_here])


def _packages() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
