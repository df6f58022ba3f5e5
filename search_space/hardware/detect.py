"""Detect this machine. Called in a process of its own: a driver may crash it."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from search_space.errors import UsageError
from search_space.hardware.control_groups import memory_limit
from search_space.hardware.machine import Machine

X86 = ("x86_64", "amd64")
"""What the platform calls it on Linux and on Windows."""

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-migraphx",
    "onnxruntime-directml",
    "onnx",
    "onnxscript",
    "openvino",
    "nncf",
    "xformers",
    "flash-attn",
    "flash-attn-3",
    "sageattention",
    "aiter",
    "kernels",
    "torchao",
    "mslk",
    "bitsandbytes",
    "cache-dit",
    "DeepCache",
    "triton",
    "habana-torch-plugin",
)
"""What needs ask for or times depend on: the versions of these are the identity of the software."""

KINDS = ("cuda", "xpu", "hpu", "mps", "cpu")
"""In the order of preference: without ``--device`` the first that works is taken."""

IPEX = "intel_extension_for_pytorch"


def detect(device: str | None) -> Machine:
    """The machine with ``device`` (cpu, cuda, mps, xpu, hpu), or the best one that works.

    Its probes are not tried. Raises UsageError where the device asked for is not there.
    """
    kind = device or next(kind for kind in KINDS if absent(kind) is None)
    reason = absent(kind)
    if reason:
        raise UsageError(f"the device {kind!r} cannot be used: {reason}")
    import torch

    host_bytes = usable_host_bytes()
    name, device_bytes = _device(kind)
    return Machine(
        device=kind,
        device_name=name,
        device_bytes=device_bytes or host_bytes,
        host_bytes=host_bytes,
        cores=logical_cores(),
        system=f"{platform.system()} {platform.machine()}",
        native_dtypes=native_dtypes(kind),
        device_count=_device_count(kind),
        threads=torch.get_num_threads(),
        int8_saturates=int8_saturates(kind),
        packages=_packages(),
    )


def absent(kind: str) -> str | None:
    """Why a kind of device cannot be used here, or None. A driver may crash the process."""
    import torch

    if kind == "cpu":
        return None
    if kind not in KINDS:
        return f"there are {', '.join(KINDS)}"
    if kind == "hpu" and find_spec("habana_frameworks") is not None:
        import habana_frameworks.torch  # noqa: F401
    module: Any = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    if module is None or not module.is_available():
        return f"this build of torch ({torch.__version__}) finds no {kind} device"
    return None


def absent_rocm() -> str | None:
    """Why there is no GPU of AMD, which torch calls ``cuda``, or None."""
    import torch

    if torch.version.hip is None:
        return f"this build of torch ({torch.__version__}) is not made for ROCm"
    return absent("cuda")


def unusable_ipex() -> str | None:
    """Why Intel's extension is not used, or None where it is not installed.

    It is never imported: beside another torch than its own it ends the process.
    """
    try:
        version = metadata.version(IPEX)
    except metadata.PackageNotFoundError:
        return None
    return f"{IPEX} {version} is detected and unusable: it is no longer maintained, use torch's xpu"


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


def _device_count(kind: str) -> int:
    import torch

    return int(getattr(torch, kind).device_count()) if kind in ("cuda", "xpu", "hpu") else 1


def logical_cores() -> int:
    """The cores that this process may use, each thread of a core counted."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_host_bytes() -> int:
    """The memory of the host, or of it what this process may use."""
    import psutil

    total_bytes = int(psutil.virtual_memory().total)
    return min(total_bytes, memory_limit() or total_bytes)


def native_dtypes(kind: str) -> tuple[str, ...]:
    """The dtypes whose matrix products a kind of device runs on hardware of their own."""
    import torch

    native = ["fp32"]
    if kind == "cpu":
        supported = {
            "bf16": _multiplies_bf16(),
            "fp16": torch.ops.mkldnn._is_mkldnn_fp16_supported(),
        }
    elif kind == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        supported = {"bf16": bf16, "fp16": True}
    else:
        supported = {"bf16": kind != "mps", "fp16": kind != "hpu"}
    return tuple(native + [name for name, native_here in supported.items() if native_here])


def _multiplies_bf16() -> bool:
    import torch

    # oneDNN takes bf16 with any AVX-512. Without instructions of its own it is widened: on a Xeon
    # with 60 GFLOP/s where fp32 has 299, by ``products_per_s`` of tuner/measuring/roofline.py.

    if platform.machine().lower() in X86:
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def int8_saturates(kind: str) -> bool:
    """Whether a kind of device cuts off sums of 8-bit products: x86 without VNNI does.

    It adds up two of them in 16 bits, which suffices where the weights keep to 7 bits: see "Nuances
    of int8 computations" in oneDNN's documentation. A CPU with AMX has VNNI, too.
    """
    import torch

    if kind != "cpu" or platform.machine().lower() not in X86:
        return False
    # The first asks for VNNI of AVX-512; an older torch cannot be asked for that of AVX2.
    flags: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return not (torch.cpu._is_vnni_supported() or flags.get("avx_vnni"))


def _packages() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions | {name: version for name, version in _runtime().items() if version}


def _runtime() -> dict[str, str | None]:
    """What this build of torch was made for."""
    import torch

    return {"cuda": torch.version.cuda, "rocm": torch.version.hip}
