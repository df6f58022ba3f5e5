"""Inject faults into real runs, and print what became of each.

    python -m tests.faults [--kind KIND] [--name PART] [--quick] [--keep]

Each fault has a lab of its own: folders for store, cache, output and temporary files, and processes
that are known by a mark in their environment. Counted are trials that were lost or measured twice,
processes and files that stay behind, and code that was executed and is not ours. The exit code is 1
where anything is not as it must be. ``--keep`` writes the rows for docs/reliability.md.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.declared import FAULTS
from tests.faults.fault import COUNTS, Row
from tests.faults.injecting import inject
from tests.faults.rows import keep

BUILD = """
import sys
from pathlib import Path
from tuner.reference import build
build("sd15-tiny", Path(sys.argv[1]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = list(dict.fromkeys(fault.kind for fault in FAULTS.declared))
    parser.add_argument("--kind", choices=kinds, action="append", help="those of this kind")
    parser.add_argument("--name", default="", help="those whose name holds this")
    parser.add_argument("--quick", action="store_true", help="those that need no pipeline")
    parser.add_argument("--keep", action="store_true", help="write the rows for the docs")
    asked = parser.parse_args()
    # A polite end, too, leaves no run at work and no disk mounted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = [
        fault
        for fault in FAULTS.declared
        if (not asked.kind or fault.kind in asked.kind)
        and asked.name in fault.name
        and (fault.quick or not asked.quick)
    ]
    rows = []
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        models = folder / "models"
        if not all(fault.quick for fault in chosen):
            subprocess.run([sys.executable, "-c", BUILD, models], check=True, capture_output=True)
        for place, fault in enumerate(chosen, 1):
            print(f"{place}/{len(chosen)} {fault.kind}: {fault.name}", end=" ", file=sys.stderr)
            row = inject(fault, folder, models)
            rows.append(row)
            verdict = "skipped" if row.skipped else "holds" if row.holds else "FALLS"
            print(f"{verdict}, {row.took_s:.0f} s", flush=True, file=sys.stderr)
            for sentence in row.wrong:
                print(f"    {sentence}", flush=True, file=sys.stderr)
            if asked.keep:
                keep(row)
    Console(width=None if sys.stdout.isatty() else 160).print(table(rows))
    return 0 if all(row.holds for row in rows) else 1


def table(rows: list[Row]) -> Table:
    """A line for each fault."""
    grid = Table("kind", "fault", "exit", *(count.replace("_", " ") for count in COUNTS), "said")
    for row in rows:
        counts = [str(getattr(row, count)) for count in COUNTS]
        said = f"skipped: {row.skipped}" if row.skipped else row.said
        if row.wrong:
            said = f"WRONG: {'; '.join(row.wrong)}"
        code = "" if row.exit_code is None else str(row.exit_code)
        grid.add_row(row.kind, row.name, code, *counts, said)
    return grid


if __name__ == "__main__":
    sys.exit(main())
