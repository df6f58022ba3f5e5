from __future__ import annotations

from pathlib import Path

import pytest

from search_space.errors import StoreError
from storage import Store, default_url
from storage.place import Place


def test_the_default_is_in_the_users_data_folder(monkeypatch):
    monkeypatch.delenv("DIFFUSERS_AUTOTUNE_STORE", raising=False)
    place = Place.parse(default_url())
    assert place.file.parts[-2:] == ("diffusers-autotune", "history.db")
    assert place.file.is_absolute()


def test_the_environment_names_another(monkeypatch):
    monkeypatch.setenv("DIFFUSERS_AUTOTUNE_STORE", "postgresql://host/trials")
    assert default_url() == "postgresql://host/trials"
    monkeypatch.setenv("DIFFUSERS_AUTOTUNE_STORE", "")
    assert default_url().startswith("sqlite:///")


@pytest.mark.parametrize("name", ["history.db", "deep/down/history.db", "with space/100%?#é.db"])
def test_a_bare_name_is_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        Store(name).close()
    with Store(name, read_only=True) as store:
        assert store.trials() == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Store("~/history.db").close()
    assert (tmp_path / "history.db").exists()


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///history.db", "history.db"),
        ("sqlite:////srv/history.db?timeout=2", "/srv/history.db"),
        ("sqlite:///file:/srv/a%20b.db?mode=ro&uri=true", "/srv/a b.db"),
        ("sqlite:///file:shared?mode=memory&uri=true", None),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("postgresql://host/trials", None),
    ],
)
def test_where_the_file_is(url, file):
    assert Place.parse(url).file == (Path(file) if file else None)


def test_a_password_is_not_shown():
    assert "secret" not in str(Place.parse("postgresql://me:secret@host/trials?password=secret"))
    with pytest.raises(StoreError) as caught:
        Place.parse("postgresql://me:secret@host:port/trials")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("mysql://host/trials", "give sqlite:/// or postgresql://"),
        ("postgres://host/trials", "give sqlite:/// or postgresql://"),
        ("sqlite+aiosqlite:///history.db", "give sqlite:/// or postgresql://"),
        ("://", "give a file such as history.db"),
        ("sqlite://history.db", "sqlite:///"),
        ("sqlite:///history.db?colour=red", "takes no option colour"),
        ("sqlite:///history.db?timeout=soon", "not a valid URL"),
    ],
)
def test_a_url_that_names_no_store(url, advice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read_only in (False, True):
        with pytest.raises(StoreError) as caught:
            Store(url, read_only=read_only)
        assert advice in str(caught.value) or read_only
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_its_driver(run_child):
    # Python does not import a module that stands in sys.modules as None.
    code = """
import sys
sys.modules["psycopg"] = None
from search_space.errors import StoreError
from storage import Store
try:
    Store("postgresql://host/trials")
except StoreError as error:
    print(error)
"""
    child = run_child(code)
    assert "pip install psycopg" in child.stdout, child.stderr


def test_a_server_that_does_not_answer():
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError) as caught:
        Store("postgresql://me@127.0.0.1:1/trials")
    assert "\n" not in str(caught.value)
