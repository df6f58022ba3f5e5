"""Tokens and passwords are in nothing that is shown or kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from search_space.errors import ModelError
from tuner.cli.main import main
from tuner.cli.options import OneLineErrors
from tuner.processes.children import Children
from tuner.processes.secrets import scrubbed, without_secrets
from tuner.processes.task import log_tail

TOKEN = "hf_" + "abcDEF0123456789" * 2
PASSWORD = "correct-horse-battery"


@pytest.mark.parametrize(
    "text",
    [
        f"401 for {TOKEN}: no access",
        f"Authorization: Bearer {TOKEN}",
        f"postgresql://me:{PASSWORD}@host/trials refused",
        f"postgresql+psycopg://me:{PASSWORD}@host:5432/trials?sslmode=require",
        f"postgresql://host/trials?password={PASSWORD}&user=me",
        f"connecting with host=db password={PASSWORD}",
        f"{{'Authorization': 'Bearer {PASSWORD}'}}",
    ],
)
def test_what_has_the_form_of_a_secret_is_hidden(text):
    assert TOKEN not in scrubbed(text) and PASSWORD not in scrubbed(text)
    assert "***" in scrubbed(text)


@pytest.mark.parametrize(
    "text",
    [
        "torch.bfloat16 is not supported at http://localhost:8080/a@b",
        "hf_hub is missing: pip install huggingface_hub",
        "token 3 of 77; password of nobody",
        "C:\\models@home",
    ],
)
def test_what_is_no_secret_stays(text, monkeypatch):
    monkeypatch.setenv("SHORT_TOKEN", "of")
    monkeypatch.setenv("EMPTY_TOKEN", "")
    assert scrubbed(text) == text


def test_the_values_of_variables_are_hidden_whatever_their_form(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", PASSWORD)
    told = without_secrets({"message": f"it is {PASSWORD}", "peak_bytes": 3, "log": [PASSWORD]})
    assert told == {"message": "it is ***", "peak_bytes": 3, "log": ["***"]}


@pytest.mark.parametrize("forks", [True, False])
def test_neither_log_nor_error_of_a_process_holds_what_its_variables_do(
    forks, tmp_path, monkeypatch
):
    if forks and sys.platform != "linux":
        pytest.skip("there is no fork server")
    monkeypatch.setenv("HF_TOKEN", "an-unusual-token")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    task = "tests.tuner.tasks:tells_secrets"
    with Children(forks=forks) as children:
        with pytest.raises(ModelError) as caught:
            children.call(task, {})
        children.start(task, tmp_path, {}).wait(60)
    assert str(caught.value) == "token ***, password ***"
    assert log_tail(tmp_path) == "token ***, password ***"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/trials",
        f"postgresql://127.0.0.1:1/trials?user=me&password={PASSWORD}",
        f"mysql://me:{PASSWORD}@host/trials",
        f"postgresql://me:{PASSWORD}@host:port/trials",
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/trials?nosuchoption=1",
    ],
)
@pytest.mark.parametrize(
    "command", [["trials"], ["best", "--json"], ["run", "reference:sd15-tiny"]]
)
def test_the_password_of_a_store_is_not_shown(url, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*command, "--store", url])
    assert result.exit_code == 2
    assert PASSWORD not in result.output


def test_the_report_of_a_bug_holds_none():
    group = OneLineErrors("tune")

    @group.command()
    def broken():
        raise LookupError(f"postgresql://me:{PASSWORD}@host {TOKEN}")

    result = CliRunner().invoke(group, ["broken"])
    assert "a bug of ours" in result.stderr
    report = Path(result.stderr.rpartition("kept in ")[2].strip())
    try:
        kept = report.read_text()
    finally:
        report.unlink()
    assert "LookupError" in kept
    for told in (kept, result.output):
        assert PASSWORD not in told and TOKEN not in told
