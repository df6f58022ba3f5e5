from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each may import those before it.
LAYERS = ("search_space", "storage", "tuner")
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
HEAVY = {"torch", "diffusers", "transformers", "onnxruntime", "xformers"}

source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """The top-level names of the packages that the import statements among the nodes name."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            found.add((node.module or "").split(".")[0])
    return found


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """All that runs when a module is imported."""
    for child in ast.iter_child_nodes(node):
        runs_later = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        never_runs = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not runs_later and not never_runs:
            yield child
            yield from outside_functions(child)


def layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def test_the_sources_are_found():
    assert {layer(path) for path in SOURCES} == set(LAYERS)
    assert Path(__file__) in TESTS


@source
def test_no_source_imports_the_tests(path):
    assert "tests" not in imported(ast.walk(parsed(path)))


@source
def test_frameworks_are_imported_inside_functions_alone(path):
    assert not imported(outside_functions(parsed(path))) & HEAVY


def test_what_is_copied_into_emitted_code_imports_nothing_of_ours():
    assert not imported(ast.walk(parsed(ROOT / "search_space" / "build.py"))) & set(LAYERS)


@source
def test_a_file_is_short_enough_to_be_read(path):
    with path.open(encoding="utf-8") as file:
        assert sum(1 for _ in file) <= 300


def test_there_is_no_package_below_tests():
    # With one, ``tests/storage`` would stand before ``storage``.
    assert [path for path in TESTS if path.name == "__init__.py"] == []
