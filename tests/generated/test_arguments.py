"""Generated command lines: each is a usage error of one line, or runs up to where work would start.

The store that the environment names is of no kind that there is. So `tune run` and `tune predict`
go through all their checks and never start a process; the other commands read a store or their
options alone.
"""

from __future__ import annotations

import os

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from search_space.errors import UsageError
from tuner.cli.main import main
from tuner.records.request import Options, request_of

pytestmark = pytest.mark.timeout(3600)

NO_STORE = "mysql://user:secret@nowhere/db"
NUMBERS = st.one_of(
    st.integers(-3, 70).map(str),
    st.sampled_from([str(2**31), str(2**63), "9" * 5000, "-0", "0x10", "1e400", "1_0", "٣"]),
    st.floats().map(str),
)
# What some option takes, or nearly.
WORDS = """
reference:sd15-tiny reference:nothing owner/name . / ~ ~nobody -- - -h 8GiB -1GiB 1e400GB 1h30m 0s
1e300h latency session memory near tpe cpu 2x nanx precision=bf16 precision= = precision a=b=c
"""
# What a system hands over: any bytes but NUL.
BYTES = st.binary(max_size=8).map(lambda given: os.fsdecode(given.replace(b"\0", b"")))
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
VALUES = NUMBERS | st.sampled_from(WORDS.split()) | BYTES | TEXT
NOT_GENERATED = {"--store"}
"""Of commands that would write to it."""


def options_of(command: click.Command) -> list[str]:
    names = [name for param in command.params for name in (*param.opts, *param.secondary_opts)]
    return sorted({name for name in names if name.startswith("-")} - NOT_GENERATED)


def command_lines(name: str) -> st.SearchStrategy[list[str]]:
    option = st.sampled_from(options_of(main.commands[name]))
    joined = option.flatmap(lambda name: VALUES.map(f"{name}={{}}".format))
    pair = st.tuples(option, VALUES) | st.tuples(joined)
    one = st.tuples(VALUES)
    model = st.just(("reference:sd15-tiny",))
    parts = st.lists(pair | pair | pair | one, max_size=6)
    return st.tuples(model | one, parts).map(lambda drawn: [*drawn[0], *sum(drawn[1], ())])


def assert_one_line(result, line):
    assert result.exit_code in (0, 2), (line, result.output, result.exception)
    assert "a bug of ours" not in result.output
    assert "secret" not in result.output
    if result.exit_code == 2:
        (told,) = result.stderr.strip().splitlines()
        assert told.startswith("error: ")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder of its own, for what is given as a path; and no store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFUSERS_AUTOTUNE_STORE", NO_STORE)
    return tmp_path


@pytest.mark.parametrize("name", ["run", "predict", "trials", "show", "best"])
def test_a_command_line_ends_with_one_line(name, elsewhere):
    @given(line=command_lines(name))
    def each(line):
        assert_one_line(CliRunner().invoke(main, [name, *line]), line)

    each()
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["knobs", "machine"])
def test_what_starts_processes_reads_its_options_first(name, elsewhere):
    command = main.commands[name]

    @given(line=command_lines(name))
    def each(line):
        try:
            options = command.make_context(name, list(line)).params
            request_of(
                options.pop("model", "m"),
                **{
                    name: value
                    for name, value in options.items()
                    if name in Options.__annotations__
                },
            )
        except (click.ClickException, click.exceptions.Exit, UsageError):
            pass

    each()


@given(line=st.lists(VALUES, min_size=1, max_size=3))
def test_a_word_that_is_no_command_is_told(line, elsewhere):
    if line[0] not in main.commands:
        assert_one_line(CliRunner().invoke(main, line), line)
