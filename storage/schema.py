"""The tables; the comments are the documentation of the file that users keep."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


class CleanText(TypeDecorator[str]):
    """Text in which U+FFFD stands for what no database takes.

    A log is whatever a dying process printed. PostgreSQL refuses NUL and SQLite refuses lone
    surrogates; a stray byte must not cost the trial.
    """

    impl = Text
    cache_ok = True
    python_type = str

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as it is stored."""
        return None if value is None else re.sub("[\0\ud800-\udfff]", "\ufffd", value)


def _number(name: str, comment: str) -> Column[int]:
    return Column(name, Integer, primary_key=True, autoincrement=True, comment=comment)


def _fingerprint(comment: str) -> Column[str]:
    return Column("fingerprint", CleanText, nullable=False, unique=True, comment=comment)


def _reference(to: str, comment: str) -> Column[int]:
    name = to.replace(".", "_")
    return Column(name, Integer, ForeignKey(to), nullable=False, index=True, comment=comment)


def _of_trial() -> Column[int]:
    # autoincrement=False: the number comes from the trial, also where it is the only key.
    return Column(
        "trial_number",
        Integer,
        ForeignKey("trial.number"),
        primary_key=True,
        autoincrement=False,
        comment="The trial.",
    )


def _key(name: str, type_: Any, comment: str) -> Column[Any]:
    return Column(name, type_, primary_key=True, autoincrement=False, comment=comment)


def _fact(name: str, type_: Any, comment: str) -> Column[Any]:
    return Column(name, type_, nullable=False, comment=comment)


autotune_version = Table(
    "autotune_version",
    metadata,
    Column(
        "version_num",
        String(32),
        nullable=False,
        comment="Name of the last revision, such as m001_initial.",
    ),
    # Alembic's own name for it, for Alembic makes the table.
    PrimaryKeyConstraint("version_num", name="autotune_version_pkc"),
    comment="The last change of the schema that this store has gone through: one row.",
)

machine = Table(
    "machine",
    metadata,
    _number("id", "Number of the machine in this store."),
    _fingerprint("Hash of facts: the identity of the hardware."),
    _fact("device", CleanText, "Where the pipeline runs, such as cpu or cuda."),
    _fact("device_name", CleanText, "The device as its maker calls it."),
    _fact("facts", CleanText, "Everything known about the hardware: JSON."),
    comment="A computer on which trials ran.",
)

software = Table(
    "software",
    metadata,
    _number("id", "Number of the software in this store."),
    _fingerprint("Hash of versions: the identity of what was installed."),
    _fact("versions", CleanText, "Package to version: JSON."),
    comment="The installed versions with which trials ran.",
)

workload = Table(
    "workload",
    metadata,
    _number("id", "Number of the workload in this store."),
    _fingerprint("Hash of facts: the identity of the workload, whatever the model is called."),
    Column(
        "model",
        CleanText,
        nullable=False,
        index=True,
        comment="The model under the name by which it was last tuned.",
    ),
    _fact("facts", CleanText, "Model files, size, steps, batch, prompts and seed: JSON."),
    comment="One pipeline call that is to be made fast.",
)

study = Table(
    "study",
    metadata,
    _number("id", "Number of the study in this store."),
    _fingerprint("Hash of machine, software, workload, limits and space."),
    _reference("machine.id", "The machine."),
    _reference("software.id", "The installed versions."),
    _reference("workload.id", "The workload."),
    Column("memory_bytes", BigInteger, comment="The memory budget in bytes; NULL without one."),
    _fact("space", CleanText, "Knob to the list of its choices, the untouched first: JSON."),
    _fact("created_at", CleanText, "When it was first opened: UTC, ISO 8601."),
    Column("host_memory_bytes", BigInteger, comment="The budget of the host; NULL without one."),
    Column("quality", CleanText, comment="The last tier allowed; NULL where none was judged."),
    Column("objective", CleanText, comment="What it minimizes; NULL for the latency."),
    comment="A search on one machine, for one workload, within one budget, quality and space.",
)

config = Table(
    "config",
    metadata,
    _number("id", "Number of the config in this store."),
    _fingerprint("Hash of choices: the identity of the config."),
    _fact("choices", CleanText, "Knob to choice, for every knob that is changed: JSON."),
    comment="One choice per knob; a knob that is not named stands at its first choice.",
)

trial = Table(
    "trial",
    metadata,
    _number("number", "Number of the trial; counts over all studies and is never used again."),
    _reference("study.id", "The study that asked for it."),
    _reference("config.id", "The config that was tried."),
    _fact("purpose", CleanText, "Why it ran: baseline, search, drift, race or ablation."),
    _fact("started_at", CleanText, "When it started: UTC, ISO 8601."),
    _fact("cost_s", Double, "Seconds that the whole trial took."),
    Column("race", CleanText, comment="Hash of the race that it is part of; NULL outside races."),
    Column("round", Integer, comment="Its round in the race, from 1; NULL outside races."),
    Column("images", Integer, comment="How many images each call of it made; NULL if it failed."),
    Column(
        "incumbent",
        Integer,
        comment="The trial whose process made the calls beside its own; NULL without one.",
    ),
    Column(
        "token",
        CleanText,
        index=True,
        unique=True,
        comment="Made for the insert, which may be made again; NULL in trials of before.",
    ),
    comment="A config and what became of it: a measurement, or the row in failure.",
    sqlite_autoincrement=True,
)

sample = Table(
    "sample",
    metadata,
    _of_trial(),
    _key("kind", CleanText, "What was timed: start, load, first_call, steady, step and so on."),
    _key("position", Integer, "Place among the samples of this kind, from 0."),
    _fact(
        "seconds",
        Double,
        "The time in seconds; of a call it is that of all its images. Beside short calls, of a few "
        "steps, steady ones are computed from them.",
    ),
    Column(
        "turn",
        Integer,
        comment="Where calls were interleaved: those of one turn of a race's round, or of one turn "
        "of a trial and its incumbent, lay beside each other; NULL when alone.",
    ),
    comment="One timing as it was read; medians are computed on reading.",
)

memory = Table(
    "memory",
    metadata,
    _of_trial(),
    _key("position", Integer, "Place among the peaks of this trial, from 0."),
    _fact(
        "place", CleanText, "Where: host or device, which the budgets are about, or host_resident."
    ),
    _fact("phase", CleanText, "When: load, first_call, steady and so on; all for the whole tree."),
    _fact("source", CleanText, "The counter that was read."),
    _fact("peak_bytes", BigInteger, "The most memory held, in bytes."),
    comment="The most memory that one phase of a trial held in one place.",
)

fidelity = Table(
    "fidelity",
    metadata,
    _of_trial(),
    _key(
        "metric",
        CleanText,
        "The measure: psnr_db, ssim, lpips, latent_error, prompts, floor_psnr_db.",
    ),
    _fact("value", Double, "Its value, in the unit that the metric is named after."),
    comment="How close the output is to the reference, which has its noise floor alone.",
)

failure = Table(
    "failure",
    metadata,
    _of_trial(),
    _fact(
        "kind", CleanText, "How it failed: crash, timeout and so on; a budget is judged on reading."
    ),
    _fact("phase", CleanText, "The phase in which it failed; empty when unknown."),
    _fact("message", CleanText, "Why, in one sentence."),
    _fact("log", CleanText, "The end of what the process printed."),
    Column("peak_bytes", BigInteger, comment="Memory known to have been held; NULL when unknown."),
    comment="Why a trial gave no usable measurement.",
)

condition = Table(
    "condition",
    metadata,
    _of_trial(),
    _key("position", Integer, "Place among the conditions of this trial, from 0."),
    _fact("kind", CleanText, "What was read, with its unit: others_cores, recompiles and so on."),
    _fact("value", Double, "Its value."),
    _fact("sample_kind", CleanText, "The kind of the sample that it lies beside; empty for none."),
    _fact("sample_position", Integer, "The sample's place; 0 for none."),
    _fact("complaint", CleanText, "Why the time is not to be trusted; empty where it is."),
    comment="A reading of the machine beside a sample or a trial.",
)

work = Table(
    "work",
    metadata,
    _of_trial(),
    _key("metric", CleanText, "What: flops, weights_read, bf16_flops_per_s and so on."),
    _fact("value", Double, "Its value, in the unit that the metric is named after."),
    comment="What a call of the baseline asks of the machine, and what the machine can do.",
)

proposal = Table(
    "proposal",
    metadata,
    _of_trial(),
    _fact("reason", CleanText, "Why: prior, model, exploration, sparing or sampler."),
    Column("speedup", Double, comment="Expected; NULL, as all below, where nothing was expected."),
    Column("low", Double, comment="The lower end of its 95 % interval."),
    Column("high", Double, comment="The upper end of its 95 % interval."),
    Column("peak_ratio", Double, comment="The expected peak over the baseline's."),
    Column("peak_low", Double, comment="The lower end of its 95 % interval."),
    Column("peak_high", Double, comment="The upper end of its 95 % interval."),
    Column("feasible", Double, comment="The probability that it works, fits and keeps the image."),
    Column("cost_s", Double, comment="The expected seconds of the trial."),
    PrimaryKeyConstraint("trial_number", name="pk_proposal"),
    comment="Why a search proposed a trial, and what it expected.",
)

claim = Table(
    "claim",
    metadata,
    _key("subject", CleanText, "What is claimed: a config of a workload here, or a study's race."),
    _fact("token", CleanText, "The run, by a name that it was given when it began."),
    _fact("host", CleanText, "Where its process is: its pid means something there alone."),
    _fact("pid", Integer, "The process of the run."),
    _fact("beat_at", CleanText, "When the run last said that it lives: UTC, ISO 8601."),
    comment="What a run measures now: another one measures something else, or waits for it.",
)
