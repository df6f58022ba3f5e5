"""Every choice on a real GPU, one trial after the other: seconds, device memory and image.

    python -m tests.benchmarks.gpu_table --keep FOLDER [--pipeline sd15] [--minutes 5]
    python -m tests.benchmarks.gpu_table --write

Each choice stands on top of ``precision=bf16`` where it may, otherwise alone. The first and the
last line of a file are the baseline's. ``--write`` puts what is kept beside this file into
docs/gpu.md and needs no GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from search_space.catalog import all_knobs
from search_space.knob import Knob
from search_space.trial import Failure, Measurement
from tests.benchmarks.gpu_page import page
from tests.gpu.setting import SIDE_PX, Setting
from tuner.processes.children import Children

KEPT = Path(__file__).with_name("gpu_kept")
PAGE = Path("docs/gpu.md")
BASE = {"precision": "bf16"}
IN_FLOAT32 = ("precision", "float32_matmul")
FIRST = ("precision", "attention", "placement", "quantization", "layerwise_casting", "engine")
"""The knobs whose choices are run first, should time run out."""


def rows(setting: Setting, until_s: float) -> Iterator[dict[str, Any]]:
    """What became of each choice; ``until_s`` is a moment of ``time.monotonic``."""
    yield {"choice": "baseline", **told({}, setting.baseline)}
    yield {"choice": "precision=bf16", **told(BASE, setting.outcome(BASE))}
    for knob, value in _choices():
        choice = f"{knob.name}={value}"
        if choice == "precision=bf16":
            continue
        if reason := setting.space.reason(knob, value):
            yield {"choice": choice, "unavailable": reason}
        elif time.monotonic() > until_s:
            yield {"choice": choice, "unavailable": "not run: time was up"}
        else:
            config = config_of(setting, knob, value)
            yield {"choice": choice, **told(config, setting.outcome(config))}
    yield {"choice": "baseline", **told({}, setting.outcome({}))}


def _choices() -> Sequence[tuple[Knob, str]]:
    order = {name: place for place, name in enumerate(FIRST)}
    known = sorted(all_knobs(), key=lambda knob: order.get(knob.name, len(FIRST)))
    return [(knob, value) for knob in known for value in knob.values[1:]]


def config_of(setting: Setting, knob: Knob, value: str) -> dict[str, str]:
    """The choice in bf16 where that may be, otherwise with no more than it asks for."""
    space = setting.space
    alone = space.supported({knob.name: value})
    both = space.supported({**BASE, knob.name: value})
    return alone if knob.name in IN_FLOAT32 or space.clash(both) else both


def told(config: dict[str, str], outcome: Measurement | Failure) -> dict[str, Any]:
    """A trial in the figures of the table."""
    if isinstance(outcome, Failure):
        return {"config": config, "failure": f"{outcome.kind.value}: {outcome.message}"}
    return {
        "config": config,
        "steady_s": [round(sample_s, 5) for sample_s in outcome.seconds["steady"]],
        "first_call_s": round(outcome.seconds["first_call"][0], 3),
        "device_bytes": outcome.peak_bytes,
        "host_bytes": outcome.host_peak_bytes,
        "psnr_db": outcome.psnr_db,
        "disturbed": outcome.disturbed,
        "unstable": outcome.unstable,
    }


def keep(name: str, folder: Path, until_s: float) -> None:
    """Run the choices for one pipeline and write a line as each is done."""
    with (
        Children() as children,
        tempfile.TemporaryDirectory() as scratch,
        (folder / f"{name}.jsonl").open("w", encoding="utf-8", buffering=1) as file,
    ):
        setting = Setting(children, name, Path(scratch))
        machine, side_px = setting.space.context.machine, SIDE_PX[name]
        head = {"pipeline": name, "side_px": side_px, "steps": 4, "date": str(date.today())}
        head |= {"device": machine.device_name, "packages": dict(machine.packages)}
        file.write(json.dumps(head) + "\n")
        for row in rows(setting, until_s):
            file.write(json.dumps(row) + "\n")
            if "unavailable" not in row:
                print(json.dumps(row)[:300], flush=True)


def main() -> None:
    """Run what was asked for, or write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pipeline", action="append", choices=tuple(SIDE_PX))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--minutes", type=float, default=math.inf, help="for each pipeline")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.keep is not None:
        asked.keep.mkdir(parents=True, exist_ok=True)
        for name in asked.pipeline or SIDE_PX:
            keep(name, asked.keep, time.monotonic() + 60 * asked.minutes)
    if asked.write:
        PAGE.write_text(page(kept_lines()), encoding="utf-8")


def kept_lines() -> list[list[dict[str, Any]]]:
    """The lines of each file that is kept."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(KEPT.glob("*.jsonl"))]
    return [[json.loads(line) for line in text.splitlines()] for text in texts]


if __name__ == "__main__":
    main()
