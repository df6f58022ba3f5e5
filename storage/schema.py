"""The tables; the comments are the documentation of the file that users keep."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
)

from storage.columns import CleanText, fact, identity, key, numbered, of_trial, reference

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


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
    numbered("id", "Number of the machine in this store."),
    identity("Hash of facts: the identity of the hardware."),
    fact("device", CleanText, "Where the pipeline runs, such as cpu or cuda."),
    fact("device_name", CleanText, "The device as its maker calls it."),
    fact("facts", CleanText, "Everything known about the hardware: JSON."),
    comment="A computer on which trials ran.",
)

software = Table(
    "software",
    metadata,
    numbered("id", "Number of the software in this store."),
    identity("Hash of versions: the identity of what was installed."),
    fact("versions", CleanText, "Package to version: JSON."),
    comment="The installed versions with which trials ran.",
)

workload = Table(
    "workload",
    metadata,
    numbered("id", "Number of the workload in this store."),
    identity("Hash of facts: the identity of the workload, whatever the model is called."),
    Column(
        "model",
        CleanText,
        nullable=False,
        index=True,
        comment="The model under the name by which it was last tuned.",
    ),
    fact("facts", CleanText, "Model files, size, steps, batch, prompts and seed: JSON."),
    Column("height_px", Integer, comment="From facts; NULL, as all below, for the pipeline's own."),
    Column("width_px", Integer, comment="From facts."),
    Column("num_frames", Integer, comment="From facts; NULL for an image."),
    Column("steps", Integer, comment="From facts."),
    Column("batch_size", Integer, comment="From facts: images a call."),
    comment="One pipeline call that is to be made fast.",
)

study = Table(
    "study",
    metadata,
    numbered("id", "Number of the study in this store."),
    identity("Hash of machine, software, workload, limits and space."),
    reference("machine.id", "The machine."),
    reference("software.id", "The installed versions."),
    reference("workload.id", "The workload."),
    Column("memory_bytes", BigInteger, comment="The memory budget in bytes; NULL without one."),
    fact("space", CleanText, "Knob to the list of its choices, the untouched first: JSON."),
    fact("created_at", CleanText, "When it was first opened: UTC, ISO 8601."),
    Column("host_memory_bytes", BigInteger, comment="The budget of the host; NULL without one."),
    Column("quality", CleanText, comment="The last tier allowed; NULL where none was judged."),
    Column("objective", CleanText, comment="What it minimizes; NULL for the latency."),
    comment="A search on one machine, for one workload, within one budget, quality and space.",
)

config = Table(
    "config",
    metadata,
    numbered("id", "Number of the config in this store."),
    identity("Hash of choices: the identity of the config."),
    fact("choices", CleanText, "Knob to choice, for every knob that is changed: JSON."),
    comment="One choice per knob; a knob that is not named stands at its first choice.",
)

trial = Table(
    "trial",
    metadata,
    numbered("number", "Number of the trial; counts over all studies and is never used again."),
    reference("study.id", "The study that asked for it."),
    reference("config.id", "The config that was tried."),
    fact("purpose", CleanText, "Why it ran: baseline, search, drift, race or ablation."),
    fact("started_at", CleanText, "When it started: UTC, ISO 8601."),
    fact("cost_s", Double, "Seconds that the whole trial took."),
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
        comment="Made for the insert, which may be made again; tells trials of two stores apart.",
    ),
    comment="A config and what became of it: a measurement, or the row in failure.",
    sqlite_autoincrement=True,
)

sample = Table(
    "sample",
    metadata,
    of_trial(),
    key("kind", CleanText, "What was timed: start, load, first_call, steady, step and so on."),
    key("position", Integer, "Place among the samples of this kind, from 0."),
    fact(
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
    of_trial(),
    key("position", Integer, "Place among the peaks of this trial, from 0."),
    fact(
        "place", CleanText, "Where: host or device, which the budgets are about, or host_resident."
    ),
    fact("phase", CleanText, "When: load, first_call, steady and so on; all for the whole tree."),
    fact("source", CleanText, "The counter that was read."),
    fact("peak_bytes", BigInteger, "The most memory held, in bytes."),
    comment="The most memory that one phase of a trial held in one place.",
)

fidelity = Table(
    "fidelity",
    metadata,
    of_trial(),
    key(
        "metric",
        CleanText,
        "The measure: psnr_db, ssim, lpips, latent_error, prompts, floor_psnr_db.",
    ),
    fact("value", Double, "Its value, in the unit that the metric is named after."),
    comment="How close the output is to the reference, which has its noise floor alone.",
)

failure = Table(
    "failure",
    metadata,
    of_trial(),
    fact(
        "kind", CleanText, "How it failed: crash, timeout and so on; a budget is judged on reading."
    ),
    fact("phase", CleanText, "The phase in which it failed; empty when unknown."),
    fact("message", CleanText, "Why, in one sentence."),
    fact("log", CleanText, "The end of what the process printed."),
    Column("peak_bytes", BigInteger, comment="Memory known to have been held; NULL when unknown."),
    comment="Why a trial gave no usable measurement.",
)

condition = Table(
    "condition",
    metadata,
    of_trial(),
    key("position", Integer, "Place among the conditions of this trial, from 0."),
    fact("kind", CleanText, "What was read, with its unit: others_cores, recompiles and so on."),
    fact("value", Double, "Its value."),
    fact("sample_kind", CleanText, "The kind of the sample that it lies beside; empty for none."),
    fact("sample_position", Integer, "The sample's place; 0 for none."),
    fact("complaint", CleanText, "Why the time is not to be trusted; empty where it is."),
    comment="A reading of the machine beside a sample or a trial.",
)

work = Table(
    "work",
    metadata,
    of_trial(),
    key("metric", CleanText, "What: flops, weights_read, bf16_flops_per_s and so on."),
    fact("value", Double, "Its value, in the unit that the metric is named after."),
    comment="What a call of the baseline asks of the machine, and what the machine can do.",
)

proposal = Table(
    "proposal",
    metadata,
    of_trial(),
    fact("reason", CleanText, "Why: prior, model, exploration, sparing or sampler."),
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

figures = Table(
    "figures",
    metadata,
    of_trial(),
    fact("state", CleanText, "measured, infeasible within the limits of its study, or failed."),
    Column("failure", CleanText, comment="Its kind; NULL, as all below, where there is none."),
    Column("phase", CleanText, comment="The phase in which it failed."),
    Column("message", CleanText, comment="Why it failed or is infeasible, in one sentence."),
    Column("latency_s", Double, comment="Seconds a call; with the objective throughput an image."),
    Column("start_up_s", Double, comment="Seconds of loading, set-up and the first call."),
    Column("peak_bytes", BigInteger, comment="Of the device, or of the host without one."),
    Column("host_peak_bytes", BigInteger, comment="Of the host."),
    Column("psnr_db", Double, comment="To the image of the baseline."),
    Column("ssim", Double, comment="To the image of the baseline."),
    Column("lpips", Double, comment="To the image of the baseline."),
    Column("tier", CleanText, comment="The measured one; other beyond lossy."),
    Column("allowed", CleanText, comment="The qualities that allow a compared image, by commas."),
    Column("disturbed", CleanText, comment="What disturbed the samples that count."),
    Column("unstable", CleanText, comment="How it still changed while it was timed."),
    Column(
        "baseline",
        Integer,
        index=True,
        comment="The trial of the default that it is compared with: in a race of its round, "
        "otherwise the last before it.",
    ),
    comment="What the readings of a trial come to, so that many are searched fast; computed when "
    "it is inserted, and again from the readings where a version computes otherwise.",
)

claim = Table(
    "claim",
    metadata,
    key("subject", CleanText, "What is claimed: a config of a workload here, or a study's race."),
    fact("token", CleanText, "The run, by a name that it was given when it began."),
    fact("host", CleanText, "Where its process is: its pid means something there alone."),
    fact("pid", Integer, "The process of the run."),
    fact("beat_at", CleanText, "When the run last said that it lives: UTC, ISO 8601."),
    comment="What a run measures now: another one measures something else, or waits for it.",
)
