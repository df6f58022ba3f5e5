"""What imports ask of a GPU, answered without starting its driver, which does not survive a fork.

While they are imported, xFormers, torchao and bitsandbytes ask torch for the GPU. Torch would start
CUDA, and children forked after that have no GPU. A child that ends at once asks in their place.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from types import SimpleNamespace
from typing import Any

LOOK = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""With this variable torch asks NVML whether there is a GPU; it would start CUDA otherwise."""

Properties = dict[str, Any]
Gpus = Mapping[str, Sequence[Properties]]
"""The GPUs of each kind that this build of torch is made for, by their properties."""

KINDS = ("cuda", "xpu")
UNKNOWN: Properties = {}
"""Stands for a GPU whose driver ended the process that asked."""


def gpus_of_machine() -> Gpus:
    """The GPUs of this machine, by torch in child processes that end at once."""
    import torch

    return {kind: _ask_in_a_fork(kind) for kind in KINDS if getattr(torch, kind)._is_compiled()}


def _ask_in_a_fork(kind: str) -> list[Properties]:
    answers, question = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException), open(question, "w", encoding="utf-8") as file:
            json.dump(properties_of(kind), file)
        os._exit(0)
    os.close(question)
    with open(answers, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else [UNKNOWN]


def properties_of(kind: str) -> list[Properties]:
    """The properties of each GPU that JSON can hold."""
    import torch

    module = getattr(torch, kind)
    gpus = [module.get_device_properties(index) for index in range(module.device_count())]
    return [dict(_written(properties)) for properties in gpus]


def _written(properties: Any) -> Iterator[tuple[str, Any]]:
    for name in dir(properties):
        value = None if name.startswith("_") else getattr(properties, name)
        if isinstance(value, (int, float, str)):
            yield name, value


def driver_started_before_fork(gpus: Gpus) -> bool:
    """Whether this process was forked after the driver of a GPU had been started."""
    import torch

    return any(
        gpus_of_kind and getattr(torch, kind)._is_in_bad_fork()
        for kind, gpus_of_kind in gpus.items()
    )


@contextlib.contextmanager
def answering(gpus: Gpus) -> Iterator[None]:
    """Have torch describe these GPUs without their driver; after the imports it asks the driver."""
    value_before = os.environ.get(LOOK)
    os.environ[LOOK] = "1"
    with contextlib.ExitStack() as stack:
        for kind, gpus_of_kind in gpus.items():
            if gpus_of_kind and UNKNOWN not in gpus_of_kind:
                stack.enter_context(_answering(kind, gpus_of_kind))
        try:
            yield
        finally:
            if value_before is None:
                # A trial must not take NVML's word for it.
                del os.environ[LOOK]


@contextlib.contextmanager
def _answering(kind: str, gpus: Sequence[Properties]) -> Iterator[None]:
    import torch

    module, while_importing = getattr(torch, kind), [True]

    def properties(device: Any = None) -> Any:
        index = 0 if device is None else module._utils._get_device_index(device, optional=True)
        return SimpleNamespace(**gpus[index or 0])

    substitutes = {"get_device_properties": properties, "current_device": lambda: 0}
    functions = {name: getattr(module, name) for name in substitutes}
    for name, answer in substitutes.items():
        setattr(module, name, _substituted(functions[name], answer, while_importing))
    try:
        yield
    finally:
        while_importing.clear()
        for name, function in functions.items():
            setattr(module, name, function)


def _substituted(
    function: Callable[..., Any], substitute: Callable[..., Any], while_importing: list[bool]
) -> Callable[..., Any]:
    # Whoever keeps a reference to this asks the GPU once the imports are done.
    @wraps(function)
    def answered(*args: Any, **kwargs: Any) -> Any:
        return substitute(*args, **kwargs) if while_importing else function(*args, **kwargs)

    return answered
