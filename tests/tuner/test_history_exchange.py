"""Trials leave the store, come to it, and are read from Python."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import tuner
from search_space.errors import UsageError
from tests.tuner.history_store import BF16, GIB, numbers
from tuner.cli.main import main
from tuner.history.filters import filter_of


def test_deleting_asks_and_leaves_the_rest(tune):
    assert "nothing was deleted" in tune("delete", 2, status=1, answer="n\n").stderr
    assert "nothing was deleted" in tune("delete", 2, status=1).stderr
    assert "no study 9" in tune("delete", "--study", 9, "--yes", status=2).stderr
    assert "give numbers of trials" in tune("delete", status=2).stderr
    assert numbers(tune) == list(range(1, 14))
    assert "Deleted 3 trials." in tune("delete", 2, "--study", 2, answer="y\n").stdout
    assert numbers(tune) == [1, *range(3, 11), 13]
    assert json.loads(tune("delete", 3, "--yes", "--json").stdout) == {"deleted": 1}


def test_a_store_is_merged_into_another_once(tune, history_store, tmp_path):
    result = CliRunner().invoke(
        main, ["merge", str(history_store), "--store", str(tmp_path / "new.db")]
    )
    assert result.stdout == "Added 13 trials of 3 new studies.\n"
    again = json.loads(tune("merge", tmp_path / "new.db", "--json").stdout)
    assert again == {"added": 0, "known": 13, "studies": 0}
    assert "no store at" in tune("merge", tmp_path / "none.db", status=2).stderr


def test_what_is_exported_says_the_same(tune, tmp_path):
    rows = list(csv.DictReader(io.StringIO(tune("export", "--json").output)))
    assert [int(row["number"]) for row in rows] == list(range(1, 14))
    assert rows[2]["latency_s"] == "" and json.loads(rows[1]["config"]) == BF16.changes
    told = json.loads(tune("export", "--format", "json", "--json").stdout)
    assert told[1]["latency_s"] == 2.0 and told[1]["speedup"] == 2.0
    written = tune("export", "--output", "t.csv", "--state", "failed", "--json")
    assert json.loads(written.stdout) == {"trials": 1, "output": "t.csv"}
    assert "cannot be written" in tune("export", "--output", "no/t.csv", status=1).stderr


def test_optuna_reads_the_journal(tune, tmp_path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    assert "give --output" in tune("export", "--format", "optuna", status=2).stderr
    result = tune("export", "--format", "optuna", "--output", "journal.log")
    assert (result.stdout, result.stderr) == ("Wrote 13 trials to journal.log.\n", "")
    storage = JournalStorage(JournalFileBackend("journal.log"))
    names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
    assert len(names) == 3
    (name,) = (name for name in names if "64x64 on a described cpu" in name)
    study = optuna.load_study(study_name=name, storage=storage)
    assert len(study.trials) == 10
    assert min(each.user_attrs["number"] for each in study.best_trials) == 2
    assert study.trials[2].state is optuna.trial.TrialState.FAIL
    assert study.trials[1].values == [2.0, 2.0 * GIB]
    assert study.trials[1].params == {"precision": "bf16", "memory_format": "contiguous"}


def test_the_plots_are_one_file_without_a_network(tune, tmp_path):
    pytest.importorskip("plotly", reason="needs the extra plot")
    tune("plot", "--output", "plots.html")
    page = Path("plots.html").read_text(encoding="utf-8")
    for words in (
        "Pareto front",
        "seconds of search",
        "Importance of each knob",
        "budget 5.00 GiB",
    ):
        assert words in page
    assert "<script src" not in page and "cdn.plot.ly/plotly" not in page.partition("<body>")[2]
    assert "no such trials" in tune("plot", "--model", "x", status=2).stderr.splitlines()[-1]


def test_the_dashboard_shows_the_studies_and_leaves_the_store(tune, history_store):
    pytest.importorskip("optuna_dashboard", reason="needs the extra dashboard")
    from tuner.search.optuna.board import application

    before = history_store.read_bytes()
    app = application(tuner.History(str(history_store)).records.records)
    status: list[str] = []
    environ = {"PATH_INFO": "/api/studies", "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()}
    body = b"".join(app(environ, lambda code, headers, *rest: status.append(code)))
    assert status == ["200 OK"]
    assert len(json.loads(body)["study_summaries"]) == 3
    assert history_store.read_bytes() == before


def test_history_in_python(history_store):
    history = tuner.History(str(history_store))
    fast = history.where("latency_s", "<", 2.5).where(model="org/small").sort("-speedup")
    assert [record.number for record in fast][:1] == [4] and {2, 6, 8, 10} < {
        r.number for r in fast
    }
    assert fast.where("number", "=", 2)[0].baseline == 1
    assert history.where(state="measured").best().number == 13
    assert [record.number for record in history.pareto()] == [2, 12, 13]
    assert [record.number for record in history.sort("latency_s").limit(2)] == [13, 4]
    assert history.compare(1, 2).speedup.ratio == pytest.approx(2.0)
    assert len(history.where("model", "=", None)) == 0
    with pytest.raises(UsageError, match="did you mean"):
        history.where(latency=2)


def test_a_history_becomes_a_table_of_pandas(history_store):
    pandas = pytest.importorskip("pandas")
    table = tuner.History(str(history_store)).to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table.loc[2, "latency_s"] == 2.0 and len(table) == 13


def test_a_filter_holds_its_value_and_no_sql():
    asked = filter_of("model", "=", "'; DROP TABLE trial; --")
    compiled = asked.condition.compile()
    assert "DROP" not in str(compiled) and "'; DROP TABLE trial; --" in compiled.params.values()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE figures SET latency_s = 'soon' WHERE trial_number = 2", "latency_s is 'soon'"),
        ("UPDATE config SET choices = '{' WHERE id = 1", "cannot be read"),
        ("UPDATE workload SET steps = 'many'", "steps is 'many'"),
    ],
)
def test_a_damaged_row_is_told_in_one_line(tune, history_store, statement, words):
    with closing(sqlite3.connect(history_store)) as connection:
        connection.execute(statement)
        connection.commit()
    result = tune("trials", "--model", "org/small", status=2)
    assert words in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_an_endless_psnr_of_an_earlier_version_is_null_in_json(tune, history_store):
    with closing(sqlite3.connect(history_store)) as connection:
        connection.execute("UPDATE figures SET psnr_db = 9e999 WHERE trial_number = 2")
        connection.commit()
    told = json.loads(tune("trials", "--where", "number", "=", 2, "--json").stdout)
    assert told[0]["psnr_db"] is None
    assert "identical" in tune("trials", "--where", "number", "=", 2).stdout
