"""What libraries tell their makers: nothing, and no file of that is left."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tuner.processes.children import Children

ENGINES = ("nncf", "onnxruntime", "openvino")
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not all(map(find_spec, ENGINES)), reason="an engine is not installed"),
]


@pytest.mark.parametrize("forks", [True, False], ids=["forked", "spawned"])
def test_engines_tell_nothing_and_leave_no_file(forks, tmp_path, monkeypatch):
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for folder in (home, temporary):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    # Some libraries ask whether they are built by a service.
    for name in (
        "CI",
        "GITHUB_ACTIONS",
        "TF_BUILD",
        "JENKINS_URL",
        "XDG_CACHE_HOME",
        "DO_NOT_TRACK",
    ):
        monkeypatch.delenv(name, raising=False)
    with Children(forks) as children:
        told = children.call("tests.tuner.server_tasks:uses_runtimes", {})
    assert told["tells"] == "MagicMock"
    assert told["temporary"].startswith(f"{temporary}/tune-")
    assert not list(temporary.iterdir())
    assert not list(home.rglob("*"))
