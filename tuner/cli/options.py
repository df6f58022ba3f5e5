"""The options of the command line and its errors, for click."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from search_space.errors import TuneError, UsageError
from search_space.knob import Tier
from search_space.units import parse_duration, parse_size
from search_space.workload import PROMPT, SEEDS
from tuner.processes.secrets import scrubbed
from tuner.records.request import DEFAULT_SAMPLER, SAMPLERS
from tuner.version import __version__

INTERRUPTED = 130
"""What shells report for a command that Ctrl-C ended: 128 and SIGINT's number, 2."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says where stdout, or a file, takes no more."""


class OneLineErrors(click.Group):
    """A group whose errors reach the user as one line and an exit code, never as a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command; exits with 2 for a usage error, 1 for a failure, 130 when interrupted."""
        kwargs["standalone_mode"] = False
        try:
            status = super().main(*args, **kwargs)
        except TuneError as error:
            fail(str(error), error.exit_code)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            path = context.command_path if context else "tune"
            fail(f"{error.format_message()} (see '{path} --help')", error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            fail("interrupted", INTERRUPTED)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                discard()
                fail(
                    f"writing failed ({error.strerror}): free some space or send stdout elsewhere",
                    1,
                )
            fail(f"{type(error).__name__}: {error}: a bug of ours, kept in {keep(error)}", 1)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whoever reads its output may stop reading, as ``head`` does."""
        try:
            status = super().invoke(ctx)
            if sys.stdout is not None:
                # Here, and not when Python exits: then nobody could say what went wrong.
                sys.stdout.flush()
            return status
        except BrokenPipeError:
            discard()
            return 0


def discard() -> None:
    """Drop what Python still holds back of stdout: written when it exits, it would fail again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, status: int) -> None:
    """End with one line on stderr."""
    click.echo(f"error: {scrubbed(' '.join(message.split()))}", err=True)
    sys.exit(status)


def keep(error: Exception) -> Path:
    """Write the traceback to a file that can be sent in."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="tune-bug-", suffix=".txt", delete=False) as file:
        file.write(f"diffusers-autotune {__version__}, python {sys.version}\n")
        file.write(scrubbed("".join(traceback.format_exception(error))))
    return Path(file.name)


class Parsed(click.ParamType):  # type: ignore[type-arg]
    """An option parsed by one of our functions, whose UsageError names what is wrong."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse text; other values have been parsed before."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def parse_fix(text: str) -> tuple[str, str]:
    """``knob=choice`` in two; raises UsageError."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"{text!r} is not of the form knob=choice, such as precision=bf16")
    return name.strip(), value.strip()


SIZE = Parsed("size", parse_size)
DURATION = Parsed("duration", parse_duration)
FIX = Parsed("knob=choice", parse_fix)
POSITIVE = click.IntRange(min=1)
SEED = click.IntRange(min=SEEDS[0], max=SEEDS[-1])

as_json = click.option("--json", "json_wanted", is_flag=True, help="Print JSON to stdout.")
store_option = click.option(
    "--store",
    metavar="URL",
    envvar="DIFFUSERS_AUTOTUNE_STORE",
    help="The store: a file or SQLAlchemy's URL. [default: a file in your data folder]",
)


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


workload_options = options(
    click.option("--height", type=POSITIVE, help="Pixels. [default: the pipeline's]"),
    click.option("--width", type=POSITIVE, help="Pixels. [default: the pipeline's]"),
    click.option(
        "--num-frames", type=POSITIVE, help="Frames of a video. [default: the pipeline's]"
    ),
    click.option("--steps", type=POSITIVE, help="Denoising steps. [default: the pipeline's]"),
    click.option(
        "--batch-size", type=POSITIVE, default=1, show_default=True, help="Images a call."
    ),
    click.option(
        "--objective",
        type=click.Choice(["latency", "throughput", "session", "memory"]),
        default="latency",
        show_default=True,
        help="To be small: a call, a call per image, load and --images, or peak memory.",
    ),
    click.option("--guidance-scale", type=float, help="[default: the pipeline's]"),
    click.option("--prompt", multiple=True, help=f"May be repeated. [default: {PROMPT}]"),
    click.option("--seed", type=SEED, default=0, show_default=True, help="Of latents and search."),
    click.option("--device", help="cpu, cuda, mps, xpu or hpu. [default: the best that is there]"),
    click.option(
        "--cache-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="For reference pipelines, exported graphs and baselines. [default: your cache folder]",
    ),
)
search_options = options(
    click.option("--trials", type=POSITIVE, default=20, show_default=True, help="In all."),
    click.option(
        "--time-limit",
        type=DURATION,
        help="For search and race together, once the baseline is known.",
    ),
    click.option(
        "--target-speedup",
        metavar="FACTOR",
        help="End the search at this speed-up over the default: 2x.",
    ),
    click.option(
        "--sampler",
        type=click.Choice(SAMPLERS),
        default=DEFAULT_SAMPLER,
        show_default=True,
        help="What proposes configs: ours, one of Optuna's, or all in turn.",
    ),
    click.option("--trial-timeout", type=DURATION, default="10m", show_default=True),
    click.option("--images", type=POSITIVE, help="Of a session: --objective session."),
    click.option(
        "--race-rounds",
        type=click.IntRange(min=0),
        default=3,
        show_default=True,
        help="In which the best are compared with the baseline; 0 for no race.",
    ),
    click.option(
        "--ablation/--no-ablation",
        default=True,
        show_default=True,
        help="Find out what each change of the winner brings.",
    ),
    click.option(
        "--lpips",
        type=click.Path(file_okay=False, exists=True, path_type=Path),
        help="Measure LPIPS too, with the weights in this folder. [default: not measured]",
    ),
)
quality_options = options(
    click.option(
        "--quality",
        type=click.Choice([tier.value for tier in Tier]),
        default=Tier.NEAR.value,
        show_default=True,
        help="How far the image may be from the baseline's.",
    ),
    click.option(
        "--allow-lossy",
        is_flag=True,
        help="Let the scheduler and the number of steps vary: another image by design.",
    ),
    click.option(
        "--allow-remote-code",
        is_flag=True,
        help="Let attention kernels be fetched from the Hub and run.",
    ),
    click.option(
        "--allow-pickle",
        is_flag=True,
        help="Let weights be pickles (.bin) where there are no safetensors.",
    ),
)
budget_options = options(
    click.option("--memory", type=SIZE, help="Budget: 8GiB, 8GB. [default: what is free]"),
    click.option(
        "--host-memory",
        type=SIZE,
        help="Budget of the host, beside that of the device. [default: none]",
    ),
)
pin_options = options(
    click.option("--fix", type=FIX, multiple=True, help="Hold a knob at a choice: precision=bf16."),
    click.option("--include", multiple=True, metavar="KNOB", help="Vary only this knob."),
    click.option("--exclude", multiple=True, metavar="KNOB", help="Leave this knob alone."),
)
