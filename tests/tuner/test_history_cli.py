"""The commands that read the store, and those that change it, on a store of several studies."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import tuner
from search_space.budget import Budget
from search_space.config import BASELINE, Config
from search_space.errors import UsageError
from search_space.knob import Tier
from search_space.trial import Failure, FailureKind, Measurement, Peak, Purpose, Trial
from search_space.workload import Workload
from storage import Store
from tests.machines import described
from tuner.cli.main import main
from tuner.history.filters import filter_of

GIB = 2**30
BEGAN = "2026-01-31T12:0{}:00+00:00"
BF16 = Config({"precision": "bf16"})
LAST = Config({"memory_format": "channels_last"})
BOTH = Config({"precision": "bf16", "memory_format": "channels_last"})
SPACE = {"precision": ["fp32", "bf16"], "memory_format": ["contiguous", "channels_last"]}
SMALL = Workload("org/small", "b2:1", 64, 64, steps=4)
OTHER = replace(SMALL, model="org/other", model_fingerprint="b2:2")
NOT_COMPARED = {"floor_psnr_db": 90.0}


def trial(config: Config, latency_s: float, gib: float, psnr_db: float | None = 40.0, **facts):
    steady = (latency_s, latency_s * 1.02, latency_s * 0.98)
    seconds = {"load": (1.0,), "first_call": (3.0,), "steady": steady}
    peak = Peak("host", "steady", "rss", int(gib * GIB))
    fidelity = NOT_COMPARED if psnr_db is None else {"psnr_db": psnr_db, "ssim": 0.99}
    began = BEGAN.format(facts.pop("minute", 0))
    return Trial(config, Measurement(seconds, (peak,), fidelity), 20.0, began, **facts)


def race(config: Config, *latencies_s: float) -> list[Trial]:
    return [
        trial(each, latency_s, 4, purpose=Purpose.RACE, race="the race", round=number)
        for number, own_s in enumerate(latencies_s, 1)
        for each, latency_s in ((BASELINE, 4.0 * own_s / latencies_s[0]), (config, own_s))
    ]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials 1 to 10: a study with a race; 11 and 12: a larger size; 13: another machine."""
    failure = Failure(FailureKind.TIMEOUT, "first_call was not done after 9 s", "first_call")
    path = tmp_path_factory.mktemp("kept") / "history.db"
    with Store(str(path)) as store:
        here, there = described("cpu"), described("cuda", device_name="NVIDIA H200")
        first = store.open_study(here, SMALL, Budget(5 * GIB, quality=Tier.NEAR), SPACE)
        store.add(first, trial(BASELINE, 4.0, 4, None, purpose=Purpose.BASELINE))
        store.add(first, trial(BF16, 2.0, 2, minute=1))
        store.add(first, replace(trial(LAST, 1.0, 1), outcome=failure))
        store.add(first, trial(BOTH, 1.0, 6))
        for each in race(BF16, 2.0, 2.02, 2.01):
            store.add(first, each)
        second = store.open_study(here, replace(SMALL, height_px=128, width_px=96), Budget(), SPACE)
        store.add(second, trial(BASELINE, 9.0, 5, None, purpose=Purpose.BASELINE))
        store.add(second, trial(LAST, 8.0, 5))
        third = store.open_study(there, OTHER, Budget(), SPACE)
        store.add(third, trial(BASELINE, 0.4, 3, None, purpose=Purpose.BASELINE))
    return path


@pytest.fixture
def store(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Path(shutil.copy(kept, tmp_path / "history.db"))


@pytest.fixture
def invoke(store: Path):
    def invoke(*arguments: object, status: int = 0, answer: str | None = None):
        words = [*map(str, arguments), "--store", str(store)]
        result = CliRunner().invoke(main, words, input=answer)
        assert result.exit_code == status, result.output
        assert all(len(line) <= 80 for line in result.stdout.splitlines()) or "--json" in words
        return result

    return invoke


def numbers(invoke, *arguments: object) -> list[int]:
    return [row["number"] for row in json.loads(invoke("trials", *arguments, "--json").stdout)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--model", "org/other"), [13]),
        (("--size", "96x128"), [11, 12]),
        (("--machine", "h200"), [13]),
        (("--machine", "2"), [13]),
        (("--state", "failed"), [3]),
        (("--state", "infeasible"), [4]),
        (("--where", "latency_s", "<", "500ms"), [13]),
        (("--where", "latency_s", "lt", "500ms"), [13]),
        (("--where", "latency_s", "gt", "7", "--where", "latency_s", "lt", "8.5"), [12]),
        (("--where", "peak_bytes", ">", "5GiB"), [4]),
        (("--where", "psnr_db", "=", "null", "--where", "state", "=", "measured"), [1, 11, 13]),
        (("--where", "failure", "!=", "null"), [3, 4]),
        (("--where", "failure", "=", "timeout"), [3]),
        (("--where", "failure", "!=", "timeout", "--where", "speedup", ">=", "3.9x"), [4]),
        (("--where", "config", "has", "memory_format=channels_last"), [3, 4, 12]),
        (("--where", "config", "=", "precision=bf16, memory_format=channels_last"), [4]),
        (("--where", "config", "has", "precision=fp32", "--size", "96x128"), [11, 12]),
        (
            ("--where", "config", "=", "baseline", "--where", "purpose", "=", "baseline"),
            [1, 11, 13],
        ),
        (("--where", "started_at", ">=", "2026-01-31T12:01"), [2]),
        (("--sort", "latency_s", "--limit", "2"), [13, 4]),
        (("--sort", "-latency_s", "--limit", "2"), [11, 12]),
        (("--sort", "model", "--sort", "-number", "--limit", "2"), [13, 12]),
        (("--limit", "3"), [11, 12, 13]),
        (("--where", "model", "=", "x' OR '1'='1"), []),
        (("--where", "model", "has", "%"), []),
    ],
)
def test_trials_are_filtered_and_sorted(invoke, arguments, expected):
    assert numbers(invoke, *arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--where", "latency", "<", "2"), "no field 'latency': did you mean latency_s?"),
        (("--where", "model; DROP TABLE trial", "=", "2"), "no field"),
        (("--where", "latency_s", "~", "2"), "no operator '~'"),
        (("--where", "model", "<", "2"), "model takes no <"),
        (("--where", "latency_s", "has", "2"), "latency_s takes no has"),
        (("--where", "latency_s", "<", "null"), "asks nothing"),
        (("--where", "latency_s", "<", "2 apples"), "not a duration"),
        (("--where", "peak_bytes", "<", "2 apples"), "not a size"),
        (("--where", "psnr_db", "<", "two"), "not a number"),
        (("--size", "64"), "not a size"),
        (("--sort", "speed"), "did you mean speedup?"),
        (("--columns", "number,speed"), "did you mean speedup?"),
    ],
)
def test_what_cannot_be_asked_is_one_line(invoke, arguments, words):
    result = invoke("trials", *arguments, status=2)
    assert words in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_columns_are_those_that_were_asked_for(invoke):
    columns = ("--columns", "number,speedup,peak_bytes,config", "--state", "measured", "--limit", 2)
    told = json.loads(invoke("trials", *columns, "--json").stdout)
    assert [list(row) for row in told] == [["number", "speedup", "peak_bytes", "config"]] * 2
    assert (told[0]["number"], told[0]["speedup"]) == (12, pytest.approx(9 / 8))
    assert told[0]["config"]["precision"] == "fp32"
    table = invoke("trials", *columns).stdout
    assert "    12    1.12x    5.00 GiB  memory_format=channels_last" in table


def test_a_model_without_trials_is_told_with_those_that_have_some(invoke):
    told = invoke("trials", "--model", "org/smal")
    assert "there are some of: org/other, org/small" in told.stderr


def test_studies_are_listed(invoke):
    told = json.loads(invoke("studies", "--json").stdout)
    assert [(s["study"], s["trials"], s["failed"], s["races"]) for s in told] == [
        (1, 10, 1, 1),
        (2, 2, 0, 0),
        (3, 1, 0, 0),
    ]
    assert (told[0]["fastest_s"], told[0]["cost_s"], told[0]["quality"]) == (2.0, 200.0, "near")
    assert "on NVIDIA H200" in invoke("studies").stdout
    assert [
        s["study"] for s in json.loads(invoke("studies", "--size", "96x128", "--json").stdout)
    ] == [2]


def test_two_configs_of_a_race_are_compared_by_it(invoke):
    told = json.loads(invoke("compare", 1, 2, "--json").stdout)
    assert told["comparable"] and told["rounds"] == 3
    assert told["speedup"] == pytest.approx(2.0)
    assert told["speedup_low"] <= told["speedup"] <= told["speedup_high"]
    assert told["config_differences"] == [{"name": "precision", "first": "fp32", "second": "bf16"}]
    assert told["first"]["latency_low_s"] < 4.0 < told["first"]["latency_high_s"]
    text = invoke("compare", 1, 2).stdout
    assert "precision  fp32     bf16" in text and "3 rounds of a race" in text


def test_trials_of_two_machines_or_sizes_are_not_comparable(invoke):
    told = json.loads(invoke("compare", 1, 13, "--json").stdout)
    assert not told["comparable"] and told["verdict"].startswith("not comparable")
    sizes = invoke("compare", 1, 11).stdout
    assert "Not comparable: they differ in workload." in sizes and "height_px" in sizes
    assert "speed-up" not in sizes
    failed = json.loads(invoke("compare", 1, 3, "--json").stdout)
    assert failed["speedup"] is None and "one of them failed" in failed["verdict"]
    assert "no trial 99" in invoke("compare", 1, 99, status=2).stderr


def test_best_is_chosen_again_by_other_rules(invoke):
    def best(*arguments):
        told = json.loads(invoke("best", "org/small", *arguments, "--json").stdout)
        return [(winner["number"], winner["speedup"] is not None) for winner in told]

    assert best() == [(2, True), (12, False)]
    assert best("--quality", "lossless") == [(4, False), (12, False)]
    assert best("--memory", "5.5GiB") == [(2, True), (12, False)]
    assert best("--memory", "4.5GiB", "--quality", "lossy") == [(2, True)]
    assert best("--objective", "memory") == [(2, True), (11, False)]
    assert "4.50 GiB" in invoke("best", "--memory", "4.5GiB").stdout


def test_pareto_has_what_nothing_beats(invoke):
    told = json.loads(invoke("pareto", "--json").stdout)
    assert [row["number"] for row in told] == [2, 12, 13]


def test_deleting_asks_and_leaves_the_rest(invoke):
    assert "nothing was deleted" in invoke("delete", 2, status=1, answer="n\n").stderr
    assert "nothing was deleted" in invoke("delete", 2, status=1).stderr
    assert "no study 9" in invoke("delete", "--study", 9, "--yes", status=2).stderr
    assert "give numbers of trials" in invoke("delete", status=2).stderr
    assert numbers(invoke) == list(range(1, 14))
    assert "Deleted 3 trials." in invoke("delete", 2, "--study", 2, answer="y\n").stdout
    assert numbers(invoke) == [1, *range(3, 11), 13]
    assert json.loads(invoke("delete", 3, "--yes", "--json").stdout) == {"deleted": 1}


def test_a_store_is_merged_into_another_once(invoke, store, tmp_path):
    result = CliRunner().invoke(main, ["merge", str(store), "--store", str(tmp_path / "new.db")])
    assert result.stdout == "Added 13 trials of 3 new studies.\n"
    again = json.loads(invoke("merge", tmp_path / "new.db", "--json").stdout)
    assert again == {"added": 0, "known": 13, "studies": 0}
    assert "no store at" in invoke("merge", tmp_path / "none.db", status=2).stderr


def test_what_is_exported_says_the_same(invoke, tmp_path):
    rows = list(csv.DictReader(io.StringIO(invoke_wide(invoke, "export").output)))
    assert [int(row["number"]) for row in rows] == list(range(1, 14))
    assert rows[2]["latency_s"] == "" and json.loads(rows[1]["config"]) == BF16.changes
    told = json.loads(invoke("export", "--format", "json", "--json").stdout)
    assert told[1]["latency_s"] == 2.0 and told[1]["speedup"] == 2.0
    written = invoke("export", "--output", "t.csv", "--state", "failed", "--json")
    assert json.loads(written.stdout) == {"trials": 1, "output": "t.csv"}
    assert "cannot be written" in invoke("export", "--output", "no/t.csv", status=1).stderr


def invoke_wide(invoke, *arguments):
    # A line of CSV is as long as it is.
    return invoke(*arguments, "--json")


def test_optuna_reads_the_journal(invoke, tmp_path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    assert "give --output" in invoke("export", "--format", "optuna", status=2).stderr
    result = invoke("export", "--format", "optuna", "--output", "journal.log")
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


def test_the_plots_are_one_file_without_a_network(invoke, tmp_path):
    pytest.importorskip("plotly", reason="needs the extra plot")
    invoke("plot", "--output", "plots.html")
    page = Path("plots.html").read_text(encoding="utf-8")
    for words in (
        "Pareto front",
        "seconds of search",
        "Importance of each knob",
        "budget 5.00 GiB",
    ):
        assert words in page
    assert "<script src" not in page and "cdn.plot.ly/plotly" not in page.partition("<body>")[2]
    assert "no such trials" in invoke("plot", "--model", "x", status=2).stderr.splitlines()[-1]


def test_the_dashboard_shows_the_studies_and_leaves_the_store(invoke, store):
    pytest.importorskip("optuna_dashboard", reason="needs the extra dashboard")
    from tuner.search.optuna.board import application

    before = store.read_bytes()
    app = application(tuner.History(str(store)).records.records)
    status: list[str] = []
    environ = {"PATH_INFO": "/api/studies", "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()}
    body = b"".join(app(environ, lambda code, headers, *rest: status.append(code)))
    assert status == ["200 OK"]
    assert len(json.loads(body)["study_summaries"]) == 3
    assert store.read_bytes() == before


def test_history_in_python(store):
    history = tuner.History(str(store))
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


def test_a_history_becomes_a_table_of_pandas(store):
    pandas = pytest.importorskip("pandas")
    table = tuner.History(str(store)).to_pandas()
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
def test_a_damaged_row_is_told_in_one_line(invoke, store, statement, words):
    with closing(sqlite3.connect(store)) as connection:
        connection.execute(statement)
        connection.commit()
    result = invoke("trials", "--model", "org/small", status=2)
    assert words in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_an_endless_psnr_of_an_earlier_version_is_null_in_json(invoke, store):
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE figures SET psnr_db = 9e999 WHERE trial_number = 2")
        connection.commit()
    told = json.loads(invoke("trials", "--where", "number", "=", 2, "--json").stdout)
    assert told[0]["psnr_db"] is None
    assert "identical" in invoke("trials", "--where", "number", "=", 2).stdout
