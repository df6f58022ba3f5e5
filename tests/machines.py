"""A described machine, which need not be there: every package installed, every probe works."""

from __future__ import annotations

from search_space.catalog import all_probes
from search_space.hardware.detect import PACKAGES
from search_space.hardware.machine import Machine

GIB = 2**30


def described(device: str = "cpu", **facts: object) -> Machine:
    known: dict[str, object] = {
        "device_name": f"a described {device} device",
        "device_bytes": 64 * GIB,
        "host_bytes": 64 * GIB,
        "cores": 8,
        "system": "Linux x86_64",
        "native_dtypes": ("fp32", "bf16", "fp16"),
        "threads": 6,
        "packages": dict.fromkeys(PACKAGES, "1.0"),
        "probes": dict.fromkeys(all_probes()),
    }
    return Machine(device, **{**known, **facts})  # type: ignore[arg-type]
