"""Builds pipelines for devices that are not there, checking each call that is made for them.

The pipelines and their methods are the real ones of diffusers. A call that the knobs make must fit
the signature of the method, and is then made: it may fail for want of the device, or of a package
that is not installed, and for nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_space.build import Build
from search_space.construct import construct, no_effect
from search_space.workload import Workload
from tuner.processes.task import leave_result

VENDOR = Path(__file__).parent / "vendor"
WANTING = re.compile(
    r"\b(cuda|xpu|hpu|mps|gpu|accelerator|triton|driver)(:\d+)?\b"
    # What torch has in place of the streams of a device that it was not built for.
    r"|dummy base class"
    # How the attention dispatcher of diffusers and its quantizers say it.
    r"|\bnot usable because\b|\binstall\b",
    re.IGNORECASE,
)


def for_want_of_it(error: Exception) -> bool:
    """Whether a call failed because the device, or what runs on it alone, is not there."""
    return not isinstance(error, TypeError) and (
        isinstance(error, ImportError) or bool(WANTING.search(str(error)))
    )


def checked(method: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    """The method, whose arguments must fit its signature; raises TypeError."""

    def call(*args: Any, **kwargs: Any) -> Any:
        inspect.signature(method).bind(*args, **kwargs)
        calls.append(method.__qualname__)
        try:
            return method(*args, **kwargs)
        except Exception as error:
            if not for_want_of_it(error):
                raise
            return None

    return call


class Recorded:
    """What a pipeline and its modules become: methods that our own code calls are checked."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if inspect.ismethod(found) and caller.startswith("search_space."):
            return checked(found, vars(type(self))["calls"])
        return found


def record(thing: Any, calls: list[str]) -> None:
    """Have a pipeline or a module record; its class keeps its name and its module."""
    from diffusers.hooks._helpers import TransformerBlockRegistry

    kind = type(thing)
    facts = {"__module__": kind.__module__, "calls": calls}
    thing.__class__ = type(kind.__name__, (Recorded, kind), facts)
    # The caches of diffusers look blocks up by their very class.
    with contextlib.suppress(ValueError):
        known = TransformerBlockRegistry.get(kind)
        TransformerBlockRegistry.register(thing.__class__, known)


@functools.cache
def loading_arguments() -> set[str]:
    """What ``from_pretrained`` takes; it passes over what it does not know."""
    from diffusers import DiffusionPipeline

    source = inspect.getsource(DiffusionPipeline.from_pretrained)
    return set(re.findall(r'kwargs\.pop\(\s*"(\w+)"', source))


@dataclass
class RecordedBuild(Build):
    """A build whose pipeline records what is called."""

    calls: list[str] = field(default_factory=list)

    def load_pipeline(self) -> None:
        """Load with the arguments that were gathered, or without where they want the device."""
        import torch
        from diffusers import DiffusionPipeline

        unknown = set(self.load) - loading_arguments()
        if unknown:
            raise TypeError(f"from_pretrained does not know {', '.join(sorted(unknown))}")
        try:
            super().load_pipeline()
        except Exception as error:
            if not for_want_of_it(error):
                raise
            self.pipe = DiffusionPipeline.from_pretrained(self.model)
        for part in self.pipe.components.values():
            if isinstance(part, torch.nn.Module):
                for module in list(part.modules()):
                    record(module, self.calls)
        self.pipe.set_progress_bar_config(disable=True)
        record(self.pipe, self.calls)


def build_all(folder: Path) -> None:
    """Build what the request asks for, one after the other: the calls of each, or the mistake."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    if request["kind"] == "hpu":
        sys.path.insert(0, str(VENDOR))
        import habana_frameworks.torch.hpu  # noqa: F401
    leave_result(folder, dict(built(request)))


def built(request: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each config its calls, a mistake in them, what stopped it, and, if asked, its effect."""
    for name, model, workload, config in request["configs"]:
        call = {**Workload.from_json(workload).call(), "output_type": "np"}
        build = RecordedBuild(model, request["kind"], call, Path(request["cache_dir"]))
        mistake = stopped = None
        try:
            construct(build, config)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            mistake, stopped = (None, said) if for_want_of_it(error) else (said, None)
        seen = no_effect(build, config) if request["look"] else None
        calls = list(dict.fromkeys(build.calls))
        yield name, {"calls": calls, "mistake": mistake, "stopped": stopped, "seen": seen}
