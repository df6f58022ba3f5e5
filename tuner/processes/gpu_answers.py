"""What imports ask of a GPU, answered without starting its driver, which does not survive a fork.

xFormers, torchao and bitsandbytes ask torch as they are imported what GPU there is; torch starts
CUDA to tell, and no child that is forked then has a GPU. A child that ends asks ahead instead.
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


def asked_ahead() -> Gpus:
    """The GPUs of this machine, as torch tells them in processes that end."""
    import torch

    return {kind: _asked(kind) for kind in KINDS if getattr(torch, kind)._is_compiled()}


def _asked(kind: str) -> list[Properties]:
    answers, question = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException), open(question, "w", encoding="utf-8") as file:
            json.dump(told(kind), file)
        os._exit(0)
    os.close(question)
    with open(answers, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else [UNKNOWN]


def told(kind: str) -> list[Properties]:
    """The properties of each GPU that can be written down."""
    import torch

    module = getattr(torch, kind)
    found = [module.get_device_properties(index) for index in range(module.device_count())]
    return [dict(_written(properties)) for properties in found]


def _written(properties: Any) -> Iterator[tuple[str, Any]]:
    for name in dir(properties):
        value = None if name.startswith("_") else getattr(properties, name)
        if isinstance(value, (int, float, str)):
            yield name, value


def spoiled(gpus: Gpus) -> bool:
    """Whether this process was forked after the driver of a GPU had been started."""
    import torch

    return any(found and getattr(torch, kind)._is_in_bad_fork() for kind, found in gpus.items())


@contextlib.contextmanager
def answering(gpus: Gpus) -> Iterator[None]:
    """Have torch answer what it is asked of these GPUs; once the imports are done, it asks them."""
    theirs = os.environ.get(LOOK)
    os.environ[LOOK] = "1"
    with contextlib.ExitStack() as stack:
        for kind, found in gpus.items():
            if found and UNKNOWN not in found:
                stack.enter_context(_answering(kind, found))
        try:
            yield
        finally:
            if theirs is None:
                # A trial must not take NVML's word for it.
                del os.environ[LOOK]


@contextlib.contextmanager
def _answering(kind: str, found: Sequence[Properties]) -> Iterator[None]:
    import torch

    module, asking = getattr(torch, kind), [True]

    def properties(device: Any = None) -> Any:
        index = 0 if device is None else module._utils._get_device_index(device, optional=True)
        return SimpleNamespace(**found[index or 0])

    answers = {"get_device_properties": properties, "current_device": lambda: 0}
    real = {name: getattr(module, name) for name in answers}
    for name, answer in answers.items():
        setattr(module, name, _answered(real[name], answer, asking))
    try:
        yield
    finally:
        asking.clear()
        for name, function in real.items():
            setattr(module, name, function)


def _answered(
    real: Callable[..., Any], answer: Callable[..., Any], asking: list[bool]
) -> Callable[..., Any]:
    # Whoever keeps a reference to this asks the GPU once the imports are done.
    @wraps(real)
    def answered(*args: Any, **kwargs: Any) -> Any:
        return answer(*args, **kwargs) if asking else real(*args, **kwargs)

    return answered
