"""``python -m tests.benchmarks.make_prior``: the table of priors that comes with the package.

It is made from what is kept in this repository: ledgers of real runs and rows of trials on GPUs.
``tuner/search/prior.json`` is written anew. ``--add STORE`` first keeps what a store has of the
workload that was tuned last, whatever its space was.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from search_space.config import Config
from search_space.hardware.machine import Machine
from search_space.trial import Measurement, Peak, Purpose, Trial
from storage import Store
from tests.benchmarks.search.tables import Made, RealTable, write
from tests.benchmarks.search.tables import read as read_table
from tests.benchmarks.table import command, context_of, recorded
from tests.gpu.rows import KEPT, Session, read
from tuner.search.evidence import evidence_of
from tuner.search.pooling import pooled
from tuner.search.prior import PEAK, SETUP, TABLE, Evidence, Prior, to_json

LEDGERS = Path(__file__).with_name("ledgers")


def add(url: str) -> Path:
    """Keep the trials of the workload that was tuned last; returns the file."""
    with Store(url, read_only=True) as store:
        stored = [each for each in store.trials() if each.trial.purpose.is_searched]
    last = stored[-1]
    context = context_of(last)
    outcomes = {
        each.trial.config: recorded(each.trial)
        for each in stored
        if each.same_as(context.machine, context.workload) and not each.trial.outcome.disturbed
    }
    model = context.workload.model.rpartition(":")[2].replace("/", "-")
    size = f"{context.workload.width_px}x{context.workload.height_px}"
    path = LEDGERS / f"{model}-{size}-{context.machine.device}.json.gz"
    made = (Made(command(context, {}), datetime.now(UTC).date().isoformat(), len(outcomes)),)
    LEDGERS.mkdir(exist_ok=True)
    write(path, RealTable(context, {}, outcomes, made))
    return path


def evidence_of_table(path: Path) -> tuple[str, Evidence] | None:
    """What a table of a real search shows: the kind of device, and the evidence."""
    table = read_table(path)
    context = table.context
    trials = [
        Trial(config, recorded.outcome, recorded.cost_s, "", purpose=Purpose.SEARCH)
        for config, recorded in table.outcomes.items()
    ]
    trials.sort(key=lambda trial: not trial.config.is_baseline)
    shown = evidence_of(trials, spec=context.spec)
    return (context.machine.device, carried(shown).kept(context.machine)) if shown else None


def carried(shown: Evidence) -> Evidence:
    """What carries over to other models: of peaks too much is the process itself."""
    effects = {key: each for key, each in shown.effects.items() if key[0] != PEAK}
    return replace(shown, effects=effects)


def evidence_of_rows(session: Session) -> Iterator[tuple[str, Evidence]]:
    """What a session on a GPU shows, by model; its rows do not say what setting up took."""
    for model in dict.fromkeys(row["model"] for row in session.rows):
        rows = [row for row in session.rows if row["model"] == model and "steady_s" in row]
        trials = [
            Trial(
                Config(row["config"]),
                Measurement(
                    {"steady": tuple(row["steady_s"])},
                    (Peak("device", "steady", "kept", row["device_bytes"]),),
                ),
                row["first_call_s"] + sum(row["steady_s"]),
                "",
            )
            for row in rows
        ]
        trials.sort(key=lambda trial: not trial.config.is_baseline)
        if shown := evidence_of(trials):
            effects = {key: each for key, each in shown.effects.items() if key[0] != SETUP}
            machine = Machine("cuda", "", 0, 0, 0, "", ("fp32", "bf16", "fp16"))
            yield "cuda", replace(shown, effects=effects).kept(machine)


def priors(tables: Iterable[Path], sessions: Iterable[Session]) -> dict[str, Prior]:
    """The prior of each kind of device."""
    evidence: dict[str, list[Evidence]] = defaultdict(list)
    sources: dict[str, list[str]] = defaultdict(list)
    for path in tables:
        if found := evidence_of_table(path):
            device, shown = found
            evidence[device].append(shown)
            sources[device].append(path.name.partition(".")[0])
    for session in sessions:
        if session.dry or session.kind != "cuda":
            continue
        for device, shown in evidence_of_rows(session):
            evidence[device].append(shown)
            sources[device].append(f"{session.head['device']}, {session.head['date']}")
    return {
        device: pooled(each, dict.fromkeys(sources[device])) for device, each in evidence.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.make_prior", description=__doc__)
    parser.add_argument("--add", metavar="STORE", help="keep what this store has first")
    if url := parser.parse_args().add:
        print(f"kept: {add(url).name}")
    made = priors(sorted(LEDGERS.glob("*.json.gz")), read(KEPT))
    devices = {device: to_json(prior) for device, prior in sorted(made.items())}
    TABLE.write_text(json.dumps({"devices": devices}, indent=1) + "\n", encoding="utf-8")
    for device, prior in made.items():
        print(f"{device}: {len(prior.effects)} effects, from {', '.join(prior.provenance)}")


if __name__ == "__main__":
    main()
