"""What imports ask of a GPU, answered without starting its driver, which does not survive a fork.

xFormers, torchao and bitsandbytes ask torch as they are imported what GPU there is; torch starts
CUDA to tell, and no child that is forked then has a GPU. A child that ends asks ahead instead.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from types import SimpleNamespace
from typing import Any

LOOK = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""With this variable torch asks NVML whether there is a GPU; it would start CUDA otherwise."""

Properties = dict[str, Any]


def asked_ahead() -> list[Properties]:
    """The properties of each GPU as torch tells them; none where there is none."""
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return []
    answers, question = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException), open(question, "w", encoding="utf-8") as file:
            json.dump([told(torch, index) for index in range(torch.cuda.device_count())], file)
        os._exit(0)
    os.close(question)
    with open(answers, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else []


def told(torch: Any, index: int) -> Properties:
    """The properties of a GPU that can be written down."""
    found = torch.cuda.get_device_properties(index)
    known = {name: getattr(found, name) for name in dir(found) if not name.startswith("_")}
    return {name: value for name, value in known.items() if isinstance(value, (int, str))}


@contextlib.contextmanager
def answering(gpus: Sequence[Properties]) -> Iterator[None]:
    """Have torch answer what it is asked of these GPUs; later, and of others, it asks them."""
    import torch

    theirs = os.environ.get(LOOK)
    os.environ[LOOK] = "1"
    asking = [True]

    def properties(device: Any = None) -> Any:
        return SimpleNamespace(**gpus[_index(device)])

    answers = {"get_device_properties": properties, "current_device": lambda: 0}
    real = {name: getattr(torch.cuda, name) for name in answers}
    try:
        for name, answer in answers.items() if gpus else ():
            setattr(torch.cuda, name, _answered(real[name], answer, asking))
        yield
    finally:
        asking.clear()
        for name, function in real.items():
            setattr(torch.cuda, name, function)
        if theirs is None:
            # A trial must not take NVML's word for it.
            del os.environ[LOOK]


def _answered(
    real: Callable[..., Any], answer: Callable[..., Any], asking: list[bool]
) -> Callable[..., Any]:
    # Whoever keeps a reference to this asks the GPU once the imports are done.
    @wraps(real)
    def answered(*args: Any, **kwargs: Any) -> Any:
        return answer(*args, **kwargs) if asking else real(*args, **kwargs)

    return answered


def _index(device: Any) -> int:
    import torch

    if device is None or isinstance(device, int):
        return device or 0
    return torch.device(device).index or 0
