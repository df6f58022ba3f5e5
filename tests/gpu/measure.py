"""Eight minutes on a GPU that tell all: one command, ordered by worth, which ends in time.

    python -m tests.gpu.measure [--minutes 8] [--device cuda|mps|xpu|hpu] [--keep FOLDER]
    python -m tests.gpu.measure --dry-run

Each row is kept as soon as it is measured, and what earlier sessions on this machine and these
versions have kept is not measured again; what failed then is tried once more, last. What does not
fit any more is skipped, what takes too long is stopped, what fails is a row with its reason.
``--dry-run`` does it on a CPU with small pipelines; what the device would allow is then decided for
a described one. CONTRIBUTING.md says how to run it on a bare machine and where the rows go.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from search_space.errors import TuneError, UsageError
from tests.gpu.ending import TimeUp, stop_now, within
from tests.gpu.items import COMPARED, DEFAULTS_S, Item, planned, the_rest
from tests.gpu.lab import Lab
from tests.gpu.lines import in_short, line, table
from tests.gpu.models import MODELS
from tests.gpu.rows import KEPT, Row, choices_of, is_done, read, verified
from tests.gpu.tasks import TASKS, Unavailable
from tuner.records.request import default_cache_dir

DEVICES = ("cuda", "mps", "xpu", "hpu")

CLOSING_S = 20.0
"""Kept back at the end: for what a run that is stopped still writes, and for processes to end."""

OWN_SHARE = 0.9
"""Of its cap, after which a task is to end by itself, with a row that says more."""

USUAL_MINUTES = 8.0
"""What the caps were made for; with more minutes an item may take as many times longer."""

DRY_STRETCH = 2.0
"""What a rehearsal may take as many times longer: it goes on beside other work."""

REST_OF = ("sd15", "flux-mid")
"""A UNet and a transformer: between them they have almost every choice."""

BUILD_S = 45.0
"""What it takes to write the pipelines at full size, side by side."""


class Session:
    """The rows of one run as they come, and the time that is left for more."""

    def __init__(self, lab: Lab, minutes: float, began_s: float, file: TextIO, head: Row) -> None:
        self.rows: list[Row] = []
        self.lab = lab
        self._file = file
        self._began_s = began_s
        self._until_s = began_s + 60.0 * minutes - CLOSING_S
        self._stretch = DRY_STRETCH if lab.dry else max(1.0, minutes / USUAL_MINUTES)
        self._spent_s = self._expected_s = 60.0
        self._write(head)

    @property
    def left_s(self) -> float:
        return self._until_s - time.monotonic()

    @property
    def pace(self) -> float:
        """How many times as long as expected things take here; at first they take as long."""
        return self._spent_s / self._expected_s

    def measure(self, item: Item) -> None:
        """Measure the item, or keep a row that says why not."""
        needed_s = item.least_s * self.pace
        if needed_s > self.left_s:
            left = max(0.0, self.left_s)
            told = f"it takes about {needed_s:.0f} s, and {left:.0f} s are left"
            return self.keep(item, {"item": item.name, "skipped": told}, 0.0)
        cap_s = min(item.cap_s * max(1.0, self.pace) * self._stretch, self.left_s)
        began_s = time.monotonic()

        def write(row: Row) -> None:
            self.keep(item, row, time.monotonic() - began_s)

        try:
            with within(cap_s):
                TASKS[item.kind](self.lab, item, OWN_SHARE * cap_s, write)
        except (TimeUp, subprocess.TimeoutExpired):
            write({"item": item.name, "stopped": f"it was not done after {cap_s:.0f} s"})
            self._reopen()
        except Unavailable as reason:
            return write({"item": item.name, "unavailable": str(reason)})
        except (Exception, SystemExit) as error:
            write({"item": item.name, "failure": in_short(error)})
            return self._reopen()
        self._spent_s += time.monotonic() - began_s
        self._expected_s += item.estimate_s

    def _reopen(self) -> None:
        # Where the device has gone, each item that follows says so.
        with suppress(TuneError, OSError):
            self.lab.reopen()

    @property
    def ends(self) -> dict[str, Row]:
        """The row in which each item has ended."""
        return {row["item"]: row for row in self.rows if "item" in row}

    def keep(self, item: Item, row: Row, cost_s: float) -> None:
        """Write a row at once, and say what it says."""
        own = {} if "item" in row else {"within": item.name}
        call = MODELS[item.model].call(self.lab.dry)
        facts = {"kind": item.kind, "part": item.part, "model": item.model, **call}
        at = datetime.now(UTC).isoformat(timespec="seconds")
        row = {**own, **facts, "cost_s": round(cost_s, 2), "at": at, **row}
        self.rows.append(row)
        self._write(row)
        if "skipped" not in row:
            print(f"{time.monotonic() - self._began_s:6.1f} s  {line(row)}", flush=True)

    def _write(self, row: Row) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()


def due(items: Sequence[Item], sessions: Sequence[Row]) -> list[Item]:
    """What is still to be measured: what never was in order, then what failed."""
    last = {row["item"]: row for row in sessions if is_done(row)}
    new = [item for item in items if item.name not in last or item.kind == "default"]
    failed = [item for item in items if item not in new and "failure" in last[item.name]]
    wanted = {item.model for item in (*new, *failed) if item.kind in COMPARED}
    return [*(item for item in new if item.kind != "default" or item.model in wanted), *failed]


def built(lab: Lab, names: Sequence[str], until_s: float) -> Iterator[Row]:
    """Build the pipelines of these names side by side, and tell of each what it took."""
    began_s = time.monotonic()
    small = ["--small"] if lab.dry else []
    words = [sys.executable, "-W", "ignore", "-m", "tests.gpu.models"]
    with tempfile.TemporaryDirectory() as folder:
        logs = {name: Path(folder) / name for name in names}
        at_work = {}
        for name, log in logs.items():
            with log.open("w") as file:
                command = [*words, name, str(lab.cache), *small]
                at_work[name] = subprocess.Popen(command, stdout=file, stderr=file)
        while at_work:
            time.sleep(0.1)
            late = time.monotonic() > until_s
            for name, process in list(at_work.items()):
                if process.poll() is None and not late:
                    continue
                process.kill()
                process.wait()
                del at_work[name]
                row: Row = {"item": f"build {name}", "model": name}
                if late:
                    row["stopped"] = "it took too long"
                elif process.returncode:
                    row["failure"] = (logs[name].read_text().splitlines() or ["no word"])[-1]
                yield {**row, "cost_s": time.monotonic() - began_s}


def measure_all(
    session: Session, items: Sequence[Item], rest: Sequence[str], shown: set[str]
) -> None:
    """Build what is needed, measure the items, and then the rest of the choices of some models."""
    lab, missing = session.lab, {}
    names = list(dict.fromkeys([*(item.model for item in items), *rest]))
    for row in built(lab, names, time.monotonic() + session.left_s / 2):
        item = Item(0, "build", row["model"], BUILD_S)
        session.keep(item, row, row["cost_s"])
        if not is_done(row) or "failure" in row:
            missing[row["model"]] = {"unavailable": "its pipeline was not built"}
    for item in items:
        if item.model in missing:
            session.keep(item, {"item": item.name, **missing[item.model]}, 0.0)
        else:
            session.measure(item)
    for model in rest:
        if model not in missing:
            measure_the_rest(session, model, shown)


def measure_the_rest(session: Session, model: str, shown: set[str]) -> None:
    """The choices of a model that no row shows, neither of this session nor kept."""
    default = Item(4, "default", model, DEFAULTS_S[model])
    if default.name not in session.ends:
        session.measure(default)
    if "steady_s" not in session.ends[default.name]:
        told = {"item": f"rest {model}", "skipped": "its default was not measured"}
        return session.keep(Item(4, "rest", model, 0.0), told, 0.0)
    seen = shown.union(*(choices_of(row) for row in session.rows))
    for item in the_rest(session.lab.meant(model), model, seen):
        if item.name not in session.ends:
            session.measure(item)


def main() -> None:
    """Measure what is asked for."""
    began_s = time.monotonic()
    asked = options()
    stop = threading.Timer(60.0 * asked.minutes, stop_now)
    stop.daemon = True
    stop.start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        try:
            lab = Lab(asked.device, asked.dry_run, asked.cache_dir, Path(scratch))
        except UsageError as error:
            sys.exit(f"{error}: --dry-run rehearses on a CPU")
        with lab:
            if lab.device == "cpu" and not lab.dry:
                sys.exit("there is no device but the CPU: --dry-run rehearses on it")
            measure_session(lab, asked, began_s)
    stop.cancel()


def measure_session(lab: Lab, asked: argparse.Namespace, began_s: float) -> None:
    """One session, from what is kept to its table."""
    stamp = datetime.now(UTC)
    head = lab.head(date=stamp.date().isoformat(), at=stamp.isoformat(timespec="seconds"))
    folder = asked.keep or (Path(lab.scratch) if lab.dry else KEPT)
    folder.mkdir(parents=True, exist_ok=True)
    kept = [*read(KEPT), *(read(folder) if folder.resolve() != KEPT.resolve() else ())]
    rows = [row for each in kept if each.like(head) for row in each.rows]
    models = asked.model or MODELS
    wanted = [item for item in planned(lab.device) if item.model in models]
    wanted = [item for item in wanted if asked.part in (None, item.part)]
    rest = [model for model in REST_OF if model in models and asked.part in (None, 4)]
    path = folder / f"{'dry-' * lab.dry}{lab.kind}-{stamp:%Y%m%dT%H%M%S}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        session = Session(lab, asked.minutes, began_s, file, head)
        shown = set(verified(kept).get(lab.kind, ()))
        measure_all(session, due(wanted, rows), rest, shown)
    print()
    print(*table(session.rows), sep="\n")
    where = path if asked.keep or not lab.dry else "no file: --keep FOLDER keeps them"
    spent_s = time.monotonic() - began_s
    print(f"{len(session.rows)} rows in {where}, in {spent_s:.0f} s of {60 * asked.minutes:.0f}")


def options() -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=USUAL_MINUTES)
    parser.add_argument("--device", choices=DEVICES)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--keep", type=Path, help="where the rows go, by default beside this file")
    parser.add_argument("--part", type=int, choices=(1, 2, 3, 4), help="that part alone")
    parser.add_argument("--model", action="append", choices=MODELS, help="that model alone")
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    return parser.parse_args()


if __name__ == "__main__":
    main()
