"""The documentation says what the code does, and leaves nothing out."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import sqlite3
from pathlib import Path

import pytest
from cogapp import Cog

from search_space.budget import UNLIMITED
from search_space.build import Build
from search_space.catalog import all_knobs, check_known
from search_space.config import Config
from search_space.hardware.machine import Machine
from search_space.knob import Knob
from search_space.space import Space
from search_space.trial import Failure, FailureKind, Measurement, Peak, Purpose, Trial
from search_space.workload import Workload
from storage import Store
from tests.gpu import page as gpu_page
from tests.gpu import rows
from tuner.cli.main import main
from tuner.discovery.unlocking import unlocking
from tuner.history.read import History
from tuner.history.winners import winners
from tuner.records.figures import figures
from tuner.records.progress import Ending
from tuner.records.tuned import TunedConfig
from tuner.report.best import best_json
from tuner.report.comparison import pair_json
from tuner.report.doctor import StoreState, doctor_json
from tuner.report.knobs import knobs_json
from tuner.report.result import result_json
from tuner.report.studies import study_json
from tuner.report.trial import stored_json
from tuner.report.trials import record_json
from tuner.result import Result

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]

NAME = re.compile(r"`([^`]+)`")
ROOMS = ("tuner", "storage", "search_space")

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
command = pytest.mark.parametrize("name", sorted(main.commands))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.S | re.M)


def tune_lines(path: Path) -> list[list[str]]:
    """The words of each command of ours among the examples of a page."""
    lines = "".join(blocks(path, "sh")).splitlines()
    words = [line.partition("#")[0].split() for line in lines]
    return [found for found in words if found[:1] == ["tune"]]


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_made_from_the_code_is_up_to_date(path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "43")
    found = Cog().main(["cog", "--check", "--diff", str(path.relative_to(ROOT))])
    assert found == 0, "run make docs"


@command
def test_every_command_is_documented_with_an_example(name):
    assert f"## tune {name}\n" in text("docs/cli.md")
    assert f"tune {name}" in text("README.md")
    assert f"Example: tune {name}" in (main.commands[name].help or "")


@page
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)]+)\)", path.read_text("utf-8"))
    for link in links:
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_index():
    others = {path.relative_to(ROOT / "docs").as_posix() for path in DOCS} - {"index.md"}
    assert {name for name in others if f"({name})" not in text("docs/index.md")} == set()


def names_of_the_vocabulary() -> list[str]:
    """What stands in backquotes in the columns for the code and for JSON."""
    rows = [line.split("|") for line in text("docs/vocabulary.md").splitlines() if line[:1] == "|"]
    return sorted({name for row in rows for cell in row[3:5] for name in NAME.findall(cell)})


@pytest.mark.parametrize("name", names_of_the_vocabulary())
def test_every_name_of_the_vocabulary_is_one_of_the_code(name):
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    if name.endswith(".py"):
        assert [path for path in sources if path.as_posix().endswith(f"/{name}")]
        return
    for word in re.findall(r"\w+", name):
        assert any(re.search(rf"\b{word}\b", path.read_text("utf-8")) for path in sources), word


def test_the_readme_is_short():
    assert len(text("README.md").splitlines()) <= 80


@page
def test_nothing_of_one_machine_is_written_down(path):
    written = path.read_text("utf-8")
    assert re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users)/\S+", written) == []


@page
def test_examples_in_python_are_python(path):
    for block in blocks(path, "python"):
        ast.parse(block)


@page
def test_examples_on_the_command_line_can_be_parsed(path):
    for _, name, *words in tune_lines(path):
        tune = main.make_context("tune", [name])
        main.commands[name].make_context(name, words, parent=tune)


def test_there_are_examples_on_the_command_line():
    assert any(tune_lines(path) for path in PAGES)


@pytest.fixture(scope="module")
def worked_example():
    made: dict[str, object] = {}
    exec(blocks(ROOT / "CONTRIBUTING.md", "python")[0], made)
    (found,) = [value for value in made.values() if isinstance(value, Knob)]
    return found


def test_the_worked_example_is_a_knob_and_not_yet_one_of_ours(worked_example):
    assert worked_example.name == "feed_forward_chunks"
    assert worked_example.name not in {knob.name for knob in all_knobs()}
    for conflict in worked_example.choices[1].conflicts:
        assert set(conflict.others) <= set(check_known(conflict.knob).values[1:])


def test_the_worked_example_acts(worked_example, reference_folder, tmp_path):
    call = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 1}
    build = Build(str(reference_folder("sd15-tiny")), "cpu", call, tmp_path)
    build.load_pipeline()
    build.pipe.set_progress_bar_config(disable=True)
    on = worked_example.choices[1]
    assert on.effect(build, "on") is not None
    on.apply(build, "on")
    batches = []
    layer = build.pipe.unet.mid_block.attentions[0].transformer_blocks[0].ff
    layer.register_forward_hook(lambda model, args, output: batches.append(len(args[0])))
    build.pipe(**call)
    assert on.effect(build, "on") is None
    assert set(batches) == {1}


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_of_failure_is_documented(kind):
    assert f"| `{kind.value}` |" in text("docs/troubleshooting.md")


# What is measured here is made up.


@pytest.fixture
def machine():
    return Machine("cpu", "a CPU", 2**33, 2**33, 2, "Linux", packages={"torch": "2.13.0"})


@pytest.fixture
def workload():
    return Workload("reference:sd15-tiny", "b2:0f", 128, 128, steps=4)


@pytest.fixture
def store_file(tmp_path, machine, workload):
    peaks = (
        Peak("host", "load", "VmHWM", 2**29),
        Peak("host", "first_call", "VmHWM", 2**30),
        Peak("host", "steady", "VmHWM", 2**28),
    )
    seconds = {"load": (1.0,), "first_call": (4.0,), "steady": (3.0, 1.0, 2.0, 2.5)}
    began = "2026-01-01T00:00:00+00:00"
    measured = Trial(Config({}), Measurement(seconds, peaks), 12.0, began, purpose=Purpose.BASELINE)
    timeout = Failure(FailureKind.TIMEOUT, "steady was not done after 9 s", "steady", "the log")
    failed = Trial(Config({"precision": "fp16"}), timeout, 30.0, began)
    path = tmp_path / "history.db"
    with Store(str(path)) as store:
        study_id = store.open_study(machine, workload, UNLIMITED, {"precision": ["fp32", "fp16"]})
        for trial in (measured, failed):
            store.add(study_id, trial)
    return path


def test_the_queries_run_and_answer(store_file):
    queries = blocks(ROOT / "docs/schema.md", "sql")
    with contextlib.closing(sqlite3.connect(store_file)) as connection:
        fastest, largest, failed = (connection.execute(query).fetchall() for query in queries)
    assert fastest == [(1, "reference:sd15-tiny", "{}", 2.25, 2.25, None)]
    assert largest == [(1, "host", "first_call", "VmHWM", 2**30)]
    assert failed == [("timeout", "steady", '{"precision":"fp16"}', 1, 30.0)]


def test_every_key_of_the_json_is_documented(store_file, context, machine, workload):
    with Store(str(store_file), read_only=True) as store:
        stored = store.trials()
    history, baseline = History(str(store_file)), stored[0].trial
    tuned = TunedConfig(
        Config(), "model", workload, machine, figures(baseline), None, None, "cache", "2026-01-01"
    )
    printed = [
        record_json(history.records[0]),
        study_json(history.studies()[0]),
        pair_json(history.compare(1, 2)),
        doctor_json(StoreState("history.db"), machine, "model", unlocking(context)),
        stored_json(stored[0]),
        stored_json(stored[1]),
        best_json(winners(stored)[0]),
        result_json(Result(tuned, Path("tuned"), (baseline,), (), 0, Ending.TRIALS, "best")),
        knobs_json(Space(context)),
    ]
    documented = text("docs/cli.md").partition("\n## JSON\n")[2]
    free = {"config", "seconds", "workload", "machine", "packages"}
    missing = {
        key for key in keys(json.loads(json.dumps(printed)), free) if f"`{key}`" not in documented
    }
    assert missing == set()


def keys(value: object, free: set[str]) -> set[str]:
    """The keys of nested objects, but for those whose content is not fixed."""
    if isinstance(value, list):
        return {key for item in value for key in keys(item, free)}
    if not isinstance(value, dict):
        return set()
    inner = [keys(item, free) for key, item in value.items() if key not in free]
    return set(value).union(*inner)


@pytest.fixture
def context():
    from tests.tuner.simulation import context

    return context()


def test_what_is_verified_on_a_gpu_is_what_its_rows_show():
    assert text("search_space/verified.py") == gpu_page.marks(rows.read(rows.KEPT)), "run make docs"
