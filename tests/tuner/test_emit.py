from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from search_space.catalog import all_knobs, check_known
from search_space.config import Config
from search_space.errors import UsageError
from search_space.knob import Stage
from search_space.workload import PROMPT, Workload
from tests.tuner.simulation import context
from tuner.deploy import sources
from tuner.deploy.emit import default_output, emit, load_script
from tuner.loader import load
from tuner.records.tuned import TunedConfig

CHOICES = [(knob.name, value) for knob in all_knobs() for value in knob.values[1:]]
OURS = {"search_space", "tuner", "storage"}


def tuned(config):
    setting = context()
    figures = {"trial": 2, "latency_s": 1.0, "peak_bytes": 2**30, "psnr_db": 42.0}
    return TunedConfig(
        config=Config(config),
        folder="model",
        workload=setting.workload,
        machine=setting.machine,
        tuned=figures,
        baseline={**figures, "trial": 1, "latency_s": 3.0, "psnr_db": None},
        memory_bytes=None,
        cache_dir="cache",
        created_at="2026-01-01T00:00:00+00:00",
        speedup=3.0,
        speedup_low=2.8,
        speedup_high=3.2,
        changes=({"knob": "precision", "choice": "bf16", "kept": True},),
    )


def imported(script):
    nodes = list(ast.walk(ast.parse(script)))
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    named |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in named}


@pytest.mark.parametrize(("name", "value"), CHOICES)
def test_a_script_needs_nothing_of_ours_and_names_nothing_unknown(name, value, tmp_path):
    script = load_script(tuned({name: value}))
    assert not OURS & imported(script)
    path = tmp_path / "load.py"
    path.write_text(script)
    rules = ["--isolated", "--select", "F821,F401,E9", "--no-cache"]
    subprocess.run([sys.executable, "-m", "ruff", "check", *rules, str(path)], check=True)
    # What changes the call has done so in CALL.
    changes_call = check_known(name).stage is Stage.CALL
    assert (f"(build, {value!r})" in script) != changes_call


@pytest.mark.parametrize(("name", "value"), CHOICES)
def test_a_script_can_be_imported(name, value, tmp_path, monkeypatch):
    path = tmp_path / "load.py"
    path.write_text(load_script(tuned({name: value})))
    spec = importlib.util.spec_from_file_location("load", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "load", module)
    spec.loader.exec_module(module)
    assert callable(module.load)


def test_definitions_stand_after_what_they_need_though_their_module_comes_first(
    tmp_path, monkeypatch
):
    (tmp_path / "cut_a.py").write_text(
        "from cut_z import Base, SIZE, twice\n\n\nclass Mine(Base):\n    size = twice(SIZE)\n"
    )
    (tmp_path / "cut_z.py").write_text(
        "SIZE = 2\n\n\ndef twice(size):\n    return 2 * size\n\n\nclass Base:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "OURS", ("cut_a", "cut_z"))
    made: dict[str, type] = {}
    exec(sources.cut([("cut_a", "Mine")]), made)
    assert made["Mine"].size == 4


def test_what_changes_the_call_has_done_so_in_the_script():
    assert load_script(tuned({"batch": "times-2"})).count(repr(PROMPT)) == 2


def test_a_script_imports_only_what_its_config_uses():
    assert "onnxruntime" not in imported(load_script(tuned({"precision": "bf16"})))
    assert "onnxruntime" in imported(load_script(tuned({"engine": "onnxruntime"})))


def test_choices_act_in_the_order_of_their_stages():
    config = {"engine": "compile-default", "precision": "bf16", "memory_format": "channels_last"}
    script = load_script(tuned(config))
    calls = ["precision(build, 'bf16')", "build.load_pipeline()", "build.place()"]
    calls += ["memory_format(build, 'channels_last')", "torch_compile(build, 'compile-default')"]
    places = [script.index(f"    {call}\n") for call in calls]
    assert places == sorted(places)


def test_what_is_emitted_is_read_back(tmp_path):
    winner = tuned({"precision": "bf16"})
    folder = emit(winner, tmp_path / "made" / "here")
    assert TunedConfig.read(folder) == winner
    facts = json.loads((folder / "config.json").read_text())
    assert facts["schema_version"] == 1
    assert (facts["speedup"], facts["speedup_low"], facts["speedup_high"]) == (3.0, 2.8, 3.2)
    assert "3.00 times as fast as the default (95 %: 2.80 to 3.20)" in load_script(winner)
    assert {"config", "workload", "machine", "software", "baseline", "tuned"} <= set(facts)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "load.py"]
    assert [path.name for path in folder.parent.iterdir()] == ["here"]


def test_where_images_are_counted_the_latency_is_that_of_an_image():
    winner = tuned({})
    assert " a call, 3.00 times" in load_script(winner)
    counted = replace(winner, workload=replace(winner.workload, throughput=True))
    assert " an image, 3.00 times" in load_script(counted)


@pytest.mark.parametrize("name", ["C:\\Users\\ann\\new", 'a "quoted" name', 'ends in "'])
def test_a_model_of_any_name_makes_a_script_that_is_python(name):
    winner = tuned({})
    script = load_script(replace(winner, workload=replace(winner.workload, model=name)))
    assert f"The tuned pipeline of {name}, written" in ast.get_docstring(ast.parse(script))


HOSTILE = (
    '"""\nimport os\nos.system("true")\n"""',
    "'''\nimport os\n'''",
    "ends in a backslash \\",
    "\\",
    '\\"""',
    '"',
    "a line\nimport os",
    "a line\r\nimport os\x0cimport os\x1cimport os\u2028import os",
    "{folder!r} {{}} %s",
    "\\N{SPACE} \\x41 \\u0041",
    "\x00",
    "\u202e\ud800",
)


def text_replaced(value, text):
    """A value of JSON with every text in it replaced."""
    if isinstance(value, dict):
        return {name: text_replaced(each, text) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [text_replaced(each, text) for each in value]
    return text if isinstance(value, str) else value


def statements(script):
    """The script without what its texts say, and its docstring by itself."""
    tree = ast.parse(script)
    docstring = ast.get_docstring(tree, clean=False)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree), docstring


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("config", [{}, {"precision": "bf16", "batch": "times-2"}])
def test_no_fact_becomes_a_statement(text, config):
    winner = tuned(config)
    facts = text_replaced(winner.to_json(), text)
    kept = ("config", "machine", "workload")
    names = [field.name for field in fields(winner) if field.name not in kept]
    hostile = replace(
        winner,
        **{name: facts[name] for name in names},
        machine=replace(
            winner.machine,
            device=text,
            device_name=text,
            system=text,
            packages={text: text},
        ),
        workload=replace(winner.workload, model=text, model_fingerprint=text, prompts=(text,)),
    )
    expected, _ = statements(load_script(winner))
    found, docstring = statements(load_script(hostile).encode().decode())
    assert found == expected
    assert f"The tuned pipeline of {text}, written" in docstring


def test_what_was_not_raced_says_so(tmp_path):
    winner = replace(tuned({}), speedup=None, speedup_low=None, speedup_high=None)
    assert "not raced against the default" in load_script(winner)


def test_a_folder_of_before_there_were_races_is_read(tmp_path):
    folder = emit(tuned({"precision": "bf16"}), tmp_path)
    facts = json.loads((folder / "config.json").read_text())
    later = ("speedup_low", "speedup_high", "objective", "break_even_images", "drift", "changes")
    older = {name: fact for name, fact in facts.items() if name not in later}
    (folder / "config.json").write_text(json.dumps(older))
    assert TunedConfig.read(folder).config == {"precision": "bf16"}


def test_emitting_again_replaces_the_files(tmp_path):
    emit(tuned({"precision": "bf16"}), tmp_path / "out")
    emit(tuned({}), tmp_path / "out")
    assert TunedConfig.read(tmp_path / "out").config == {}


def test_a_contact_sheet_goes_with_the_config_that_it_shows(tmp_path):
    folder = emit(tuned({"precision": "bf16"}), tmp_path / "out", b"a picture")
    assert (folder / "contact_sheet.png").read_bytes() == b"a picture"
    emit(tuned({}), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "load.py"]


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="give another --output"):
        emit(tuned({}), tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no tuned config"),
        ("{", "cannot be read"),
        ("[]", "holds no JSON object"),
        ("{}", "not written by 'tune run'"),
        ('{"schema_version": 99}', "another schema version"),
    ],
)
def test_loading_what_was_not_emitted_is_a_usage_error(tmp_path, content, words):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=words):
        load(tmp_path)


def test_loading_without_the_model_says_what_to_pass(tmp_path):
    emit(tuned({}), tmp_path)
    with pytest.raises(UsageError, match=r"no longer at model: say load\(\.\.\., model=\.\.\.\)"):
        load(tmp_path)


def test_two_definitions_of_one_name_are_a_bug_that_is_told(tmp_path, monkeypatch):
    package = tmp_path / "search_space_twice"
    package.mkdir()
    for name in ("one", "two"):
        (package / f"{name}.py").write_text("def same():\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    pairs = [("search_space_twice.one", "same"), ("search_space_twice.two", "same")]
    with pytest.raises(ValueError, match="'same' is defined in"):
        sources.cut(pairs)


def test_importing_the_loader_needs_neither_store_nor_search():
    heavy = {"storage", "optuna", "sqlalchemy", "torch"}
    code = f"import sys, tuner; tuner.load; print(*{heavy} & set(sys.modules))"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert printed.stdout.strip() == ""


@pytest.mark.parametrize("model", ["..", ".", "./", "../..", "~", "/"])
def test_a_folder_that_is_named_by_its_place_alone_goes_by_its_own_name(model):
    asked = context()
    spec = replace(asked.spec, folder="/models/My_SDXL")
    output = default_output(replace(asked, spec=spec, workload=Workload(model)))
    assert output.parts[:2] == ("tuned", "my_sdxl")
    assert ".." not in output.parts
