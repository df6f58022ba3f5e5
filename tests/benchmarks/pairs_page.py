"""What became of all pairs of choices, and the page of the docs that tells it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.benchmarks.covering import Pair

RAN = "ran"
LEFT = "left"
RULED_OUT = "ruled out: "
FAILED = "failed: "


@dataclass(frozen=True)
class Outcomes:
    """What became of every pair of a family.

    ``configs`` were run for it. ``together`` are those that failed while each pair runs alone.
    """

    pairs: Mapping[Pair, str]
    configs: int
    together: Mapping[str, str]

    def counts(self) -> Counter[str]:
        """How many pairs ran, are ruled out, failed, and are left."""
        return Counter(told.partition(":")[0] for told in self.pairs.values())


def named(items: Iterable[tuple[str, str]]) -> str:
    """Choices as a reader writes them."""
    return " + ".join(f"{knob}={value}" for knob, value in sorted(items))


def page(found: Mapping[str, Outcomes], where: str) -> str:
    """The table as a page of the docs."""
    counted = {family: (outcomes.counts(), outcomes) for family, outcomes in found.items()}
    rows = [
        f"| {family} | {counts.total()} | {counts['ran']} | {counts['ruled out']} "
        f"| {counts['failed']} | {counts['left']} | {outcomes.configs} |"
        for family, (counts, outcomes) in counted.items()
    ]
    failed = [
        f"- {family}: {named(pair)}: {told.removeprefix(FAILED)}"
        for family, outcomes in found.items()
        for pair, told in outcomes.pairs.items()
        if told.startswith(FAILED)
    ]
    together = [
        f"- {family}: {config}: {told.removeprefix(FAILED)}"
        for family, outcomes in found.items()
        for config, told in outcomes.together.items()
    ]
    # By knobs, not by choices: "attention does not go with engine: ...".
    reasons = Counter(
        re.sub(r"=\S+?(?=:? )", "", told.removeprefix(RULED_OUT))
        for outcomes in found.values()
        for told in outcomes.pairs.values()
        if told.startswith(RULED_OUT)
    )
    return TEXT.format(
        where=where,
        rows="\n".join(rows),
        failed="\n".join(failed) or "None.",
        together="\n".join(together) or "None.",
        reasons="\n".join(f"| {count} | {reason} |" for reason, count in sorted(reasons.items())),
    )


TEXT = """# Pairs of choices

Every pair of choices that are available on this CPU, for the tiny reference pipeline of each
family: whether it ran, a rule excludes it, or it failed. Made by
`python -m tests.benchmarks.pairs --write` on
{where}.

A pair *ran* when a config in which it stands was built in a process of its own, each of its
choices acted, and the image was neither broken nor another one. A config holds as many
pairs as the rules allow; where it failed, its pairs were run alone. Pairs with a step cache ran 16
steps, or 32 where some are left out, with another schedule 8, all others 2. What is not run yet is
run by the same command, which goes on where it stopped.

| family | pairs | ran | ruled out | failed | not run yet | configs |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

## Pairs that failed

{failed}

## Configs that failed though each of their pairs runs

{together}

## Pairs ruled out, by reason

| pairs | reason |
| --- | --- |
{reasons}
"""
