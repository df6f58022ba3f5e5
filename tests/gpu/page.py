"""What the docs and `tune knobs` say of GPUs, made from the rows that are kept.

    python -m tests.gpu.page

writes the marks into search_space/verified.py; `make docs` does that and the pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, stdev

from search_space.catalog import all_knobs
from search_space.config import Config
from search_space.units import format_size
from tests.gpu.rows import KEPT, Row, Session, keeps_the_image, read, verified

ROOT = Path(__file__).parents[2]
MARKS = ROOT / "search_space" / "verified.py"
SHOWN = (
    "torch",
    "cuda",
    "rocm",
    "diffusers",
    "transformers",
    "xformers",
    "torchao",
    "bitsandbytes",
)
COLUMNS = (
    *("choice", "with", "call", "x default", "samples", "device peak", "host peak", "PSNR"),
    *("first call", "session"),
)
TABLED = ("default", "trial", "tune")
"""The kinds of items whose rows stand in the table of a model; the oldest rows have none."""

NONE_YET = "None has been kept yet."


@dataclass(frozen=True)
class Known:
    """A session and the letter that the page calls it by."""

    letter: str
    session: Session


def page(sessions: Sequence[Session]) -> str:
    """The generated part of the page."""
    known = [Known(chr(ord("a") + place), each) for place, each in enumerate(real(sessions))]
    models = dict.fromkeys(row["model"] for each in known for row in each.session.rows)
    parts = [
        *("## What has run", "", *what_ran(sessions), ""),
        *("## Whole runs", "", *whole_runs(known), ""),
        *(text for model in models for text in section(model, known)),
        *("## Whether it is true", "", *truths(known), ""),
        *("## Sessions", "", *told_sessions(known)),
    ]
    return "\n".join(parts)


def real(sessions: Iterable[Session]) -> list[Session]:
    """Those that ran on a device."""
    return [session for session in sessions if not session.dry]


def what_ran(sessions: Sequence[Session]) -> Iterator[str]:
    """By kind of device which choices have run."""
    for kind, shown in verified(sessions).items():
        yield f"On {kind} {len(shown)} choices acted and kept the image: {codes(shown)}."


def codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def whole_runs(known: Sequence[Known]) -> Iterator[str]:
    """What each `tune run` has found."""
    found = [(each, row) for each in known for row in each.session.rows if "result" in row]
    if not found:
        yield NONE_YET
        return
    head = ("model", "winner", "speed-up", "default", "tuned", "trials", "raced", "session")
    yield from table(head, (run_cells(each, row) for each, row in found))


def run_cells(known: Known, row: Row) -> tuple[str, ...]:
    result = row["result"]
    low, high = result["interval"] or (None, None)
    speedup = f"{result['speedup']:.2f}" if result["speedup"] else "not raced"
    interval = "" if low is None else f" ({low:.2f} to {high:.2f})"
    cut = " (cut short)" * ("stopped" in row)
    return (
        f"{row['model']}{cut}",
        f"`{Config(result['winner']).describe()}`",
        speedup + interval,
        figures(result["default"]),
        figures(result["tuned"]),
        str(result["trials"]),
        str(result["raced"]),
        known.letter,
    )


def figures(found: Row | None) -> str:
    if found is None or found["latency_s"] is None:
        return "-"
    return f"{1000 * found['latency_s']:.1f} ms, {format_size(found['peak_bytes'])}"


def section(model: str, known: Sequence[Known]) -> Iterator[str]:
    """The part of one model: a table with every choice, and what failed or was not available."""
    rows = [(each, row) for each in known for row in each.session.rows if row["model"] == model]
    rows = [(each, row) for each, row in rows if row.get("kind", "trial") in TABLED]
    yield from (f"## {model}", "")
    measured = [(each, row) for each, row in rows if "steady_s" in row and not is_raced(row)]
    timed = {choice_of(row)[0] for _, row in measured}
    acted = [(e, row) for e, row in rows if row.get("acted") and f"`{row['choice']}`" not in timed]
    if measured or acted:
        calls = {(row["side_px"], row["steps"]) for _, row in rows if "side_px" in row}
        told = [f"{side_px} x {side_px} px, {steps} steps" for side_px, steps in sorted(calls)]
        yield from (f"{'; '.join(told)}.", "")
        order = sorted(measured, key=lambda pair: place_of(pair[1]))
        cells = [*(cells_of(*pair, model) for pair in order), *(acted_cells(*p) for p in acted)]
        yield from (*table(COLUMNS, cells), "")
    failed = [
        f"- `{Config(row['config']).describe()}` ({each.letter}): {row['failure']}"
        for each, row in rows
        if "failure" in row and "config" in row
    ]
    yield from ("Failed: none." if not failed else "Failed:", *failed, "")
    if missing := dict(not_available(row for _, row in rows)):
        yield from ("Not available there:", "")
        yield from (f"- {codes(names)}: {reason}." for reason, names in missing.items())
        yield ""


def is_raced(row: Row) -> bool:
    return row.get("purpose") in ("race", "ablation")


def place_of(row: Row) -> tuple[int, str]:
    """The default first, then in the order of the knobs."""
    order = [f"`{knob.name}={value}`" for knob in all_knobs() for value in knob.values]
    name = choice_of(row)[0]
    return order.index(name) if name in order else -1, name


def choice_of(row: Row) -> tuple[str, str]:
    """What a row is about, and what stands with it: its last choice, and bf16 where that is all."""
    config = row["config"]
    if not config:
        return "default", "-"
    known = [knob.name for knob in all_knobs()]
    names = sorted(config, key=lambda name: known.index(name) if name in known else -1)
    about = row.get("choice", "").partition("=")[0] or names[-1]
    others = [f"`{name}={config[name]}`" for name in names if name != about]
    return f"`{about}={config[about]}`", ", ".join(others) or "-"


def cells_of(known: Known, row: Row, model: str) -> tuple[str, ...]:
    steady_s = row["steady_s"]
    defaults_s = known.session.defaults_s(model)
    faster = f"{median(defaults_s) / median(steady_s):.2f}" if defaults_s else "-"
    far = (
        "" if not row["config"] or keeps_the_image(row["config"], row["psnr_db"]) else " (too far)"
    )
    psnr = "-" if row["psnr_db"] is None else f"{row['psnr_db']:.0f} dB"
    marks = " (disturbed)" * bool(row["disturbed"]) + " (unstable)" * bool(row["unstable"])
    choice, others = choice_of(row)
    return (
        choice + marks,
        others,
        f"{1000 * median(steady_s):.1f} ms",
        faster,
        f"{1000 * min(steady_s):.1f} to {1000 * max(steady_s):.1f} ms",
        format_size(row["device_bytes"]),
        format_size(row["host_bytes"]),
        psnr + far,
        f"{row['first_call_s']:.1f} s" + " (cached)" * bool(row.get("warm_cache")),
        known.letter,
    )


def acted_cells(known: Known, row: Row) -> tuple[str, ...]:
    return (f"`{row['choice']}`", "-", "acted", *"------", known.letter)


def not_available(rows: Iterable[Row]) -> Iterator[tuple[str, list[str]]]:
    """The choices by the reason that stood in their way."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for reason, names in row.get("not_available", {}).items():
            found.setdefault(reason, {}).update(dict.fromkeys(names))
        if "unavailable" in row and "choice" in row:
            found.setdefault(row["unavailable"], {})[row["choice"]] = None
    yield from ((reason, list(names)) for reason, names in found.items())


def truths(known: Sequence[Known]) -> Iterator[str]:
    """How far repeated trials lie apart, and what another account and another way say."""
    rows = [(each, row) for each in known for row in each.session.rows]
    cells = [
        *repeated(rows),
        *(memory_cells(each, row) for each, row in rows if "phases" in row),
        *(loop_cells(each, row) for each, row in rows if "mean" in row),
    ]
    if not cells:
        yield NONE_YET
        return
    yield from table(("what", "of", "config", "found", "session"), cells)


def repeated(rows: Sequence[tuple[Known, Row]]) -> Iterator[tuple[str, ...]]:
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for each, row in rows:
        if "again" in row:
            config = Config(row["config"]).describe()
            groups.setdefault((row["kind"], row["model"], config, each.letter), []).append(row)
    for (kind, model, config, letter), found in groups.items():
        medians_s = [row["again"]["median_s"] for row in found]
        flagged = sum(bool(row["again"]["disturbed"]) for row in found)
        varies = (
            f", {100 * stdev(medians_s) / median(medians_s):.1f} % apart" if len(found) > 1 else ""
        )
        text = f"{1000 * min(medians_s):.1f} to {1000 * max(medians_s):.1f} ms{varies}"
        what = "beside a neighbour" if kind == "neighbour" else f"{len(found)} trials"
        yield what, model, f"`{config}`", f"{text}; {flagged} flagged", letter


def memory_cells(known: Known, row: Row) -> tuple[str, ...]:
    ours, theirs = (max(each) for each in zip(*row["phases"].values(), strict=True))
    text = f"{format_size(ours)}, NVML {format_size(theirs)}"
    config = f"`{Config(row['config']).describe()}`"
    return "memory, and NVML's account", row["model"], config, text, known.letter


def loop_cells(known: Known, row: Row) -> tuple[str, ...]:
    text = f"{row['mean']:.3f} times its calls of {1000 * row['by_hand_s']:.1f} ms"
    config = f"`{Config(row['config']).describe()}`"
    return "a loop by hand, call by call", row["model"], config, text, known.letter


def told_sessions(known: Sequence[Known]) -> Iterator[str]:
    for each in known:
        head = each.session.head
        packages = ", ".join(f"{n} {head['packages'][n]}" for n in SHOWN if n in head["packages"])
        note = f" {head['note']}" if head.get("note") else ""
        yield f"- {each.letter}: {head['device']}, {head['date']}; {packages}.{note}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"


def marks(sessions: Sequence[Session]) -> str:
    """The module that the wheel has of the rows."""
    lines = [HEAD]
    for kind, shown in verified(sessions).items():
        lines += [f'    "{kind}": (', *(f'        "{name}",' for name in shown), "    ),"]
    return "\n".join([*lines, "}", ""])


HEAD = '''"""The choices that rows of tests/gpu/kept show to have run, by kind of device.

Written by ``python -m tests.gpu.page``, never by hand.
"""

from __future__ import annotations

from collections.abc import Mapping

VERIFIED: Mapping[str, tuple[str, ...]] = {'''


def generated() -> str:
    """The generated part of the page, from what is kept."""
    return page(read(KEPT))


def main() -> None:
    """Write the marks."""
    MARKS.write_text(marks(read(KEPT)), encoding="utf-8")


if __name__ == "__main__":
    main()
