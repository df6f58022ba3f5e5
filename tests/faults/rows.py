"""The rows of the fault table as they are kept, for docs/reliability.md."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from tests.faults.fault import COUNTS, Row

KEPT = Path(__file__).with_name("kept.json")


def read() -> dict[str, Any]:
    """The rows by kind and name, with the machine and the day of each."""
    rows: dict[str, Any] = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    return rows


def keep(row: Row) -> None:
    """Put a row in the place of an earlier one of the same fault."""
    # No path of this machine.
    said = re.sub(rf"{re.escape(gettempdir())}/[\w-]+", "TMP", row.said)
    facts = {
        **asdict(row),
        "said": said,
        "date": datetime.now(UTC).date().isoformat(),
        "system": system(),
    }
    rows = {**read(), f"{row.kind}: {row.name}": facts}
    KEPT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8")


def system() -> str:
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


def section() -> str:
    """The part of docs/reliability.md: how many held, and a table of each kind."""
    rows = list(read().values())
    run = [facts for facts in rows if not facts["skipped"]]
    held = sum(not facts["wrong"] and not any(facts[count] for count in COUNTS) for facts in run)
    systems = sorted({f"{facts['system']} ({facts['date']})" for facts in run})
    lines = [f"{held} of {len(run)} held, on {', '.join(systems)}."]
    kind = ""
    for facts in rows:
        if facts["kind"] != kind:
            kind = facts["kind"]
            lines += ["", f"### {kind.capitalize()}", "", HEAD, "|---" * (2 + len(COUNTS)) + "|"]
        lines.append(_line(facts))
    return "\n".join(lines)


HEAD = f"| fault | exit code | {' | '.join(count.replace('_', ' ') for count in COUNTS)} |"


def _line(facts: dict[str, Any]) -> str:
    name = facts["name"].replace("|", "\\|")
    if facts["skipped"]:
        return f"| {name} | not run: {facts['skipped']} |{' |' * len(COUNTS)}"
    wrong = ", fell" if facts["wrong"] else ""
    counts = " | ".join(str(facts[count]) for count in COUNTS)
    return f"| {name} | {facts['exit_code']}{wrong} | {counts} |"
