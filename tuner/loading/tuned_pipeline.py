"""``pipe.tuned``: what a loaded pipeline is, and a word ahead of calls that it is not made for."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_space.config import Config
from search_space.shapes import Shapes
from search_space.workload import Workload
from tuner.loading.chain import Skipped
from tuner.loading.coverage import Coverage
from tuner.loading.match import Level
from tuner.records.figures import Figures


@dataclass(frozen=True)
class Tuned:
    """What a loaded pipeline is: its config, and how near that is to what was measured.

    ``figures`` were measured with the config on ``measured_on``; they are expected here where the
    level is EXACT. They are None for the default of diffusers. ``why`` says what differs,
    ``skipped`` which stored configs were not taken, ``workload`` what the pipeline was built for.
    """

    config: Config
    figures: Figures | None
    level: Level
    why: str
    source: str
    skipped: tuple[Skipped, ...]
    workload: Workload
    device: str
    measured_on: str
    coverage: Coverage
    defaults: Mapping[str, Any]
    """The size of a call that names none."""

    def covers(
        self,
        *,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        batch_size: int | None = None,
    ) -> str | None:
        """None where the pipeline was built for such a call, otherwise what happens, and why."""
        beyond = self.coverage.beyond(height, width, num_frames, batch_size)
        return None if beyond is None else beyond[1]


def attach(pipe: Any, tuned: Tuned) -> Any:
    """Leave the record on the pipeline, and have it look at its calls where some are not covered.

    A call is looked up on the class, so the pipeline becomes one of a class below its own.
    """
    pipe.tuned = tuned
    if tuned.coverage.has_limits:
        kind: Any = type(pipe)
        pipe.__class__ = watching(kind)
    return pipe


@functools.cache
def watching(kind: Any) -> Any:
    """The class of pipelines that warn ahead of a call which they were not made for."""
    call = kind.__call__
    signature = inspect.signature(call)

    @functools.wraps(call)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        _warn(self, signature, args, kwargs)
        return call(self, *args, **kwargs)

    names = {
        "__call__": watched,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    return type(kind)(kind.__name__, (kind,), names)


def _warn(pipe: Any, signature: inspect.Signature, args: Any, kwargs: Any) -> None:
    try:
        bound = signature.bind(pipe, *args, **kwargs)
    except TypeError:
        # The call itself says what is wrong with it.
        return
    bound.apply_defaults()
    beyond = pipe.tuned.coverage.beyond(**shape_of(bound.arguments, pipe.tuned.defaults))
    if beyond is None:
        return
    kind, sentence = beyond
    told = vars(pipe).setdefault("_told_beyond", set())
    # What has been compiled once is not compiled again; what fails fails each time.
    if kind is Shapes.FIXED or sentence not in told:
        told.add(sentence)
        warnings.warn(sentence, stacklevel=3)


def shape_of(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, int | None]:
    """Size and batch of a call."""
    return {
        "height": arguments.get("height") or defaults.get("height_px"),
        "width": arguments.get("width") or defaults.get("width_px"),
        "num_frames": arguments.get("num_frames") or defaults.get("num_frames"),
        "batch_size": _batch_size(arguments),
    }


def _batch_size(arguments: Mapping[str, Any]) -> int | None:
    prompt = arguments.get("prompt")
    prompt = arguments.get("prompt_embeds") if prompt is None else prompt
    if prompt is None:
        return None
    count = 1 if isinstance(prompt, str) else len(prompt)
    each = arguments.get("num_images_per_prompt") or arguments.get("num_videos_per_prompt") or 1
    return count * int(each)
