from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import zip_longest
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


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_enough_to_be_read(path):
    with path.open(encoding="utf-8") as file:
        assert sum(1 for _ in file) <= 300


def numbers_without_a_reason(code: str) -> Iterator[str]:
    """The module's constants of numbers that lack one: a string below, for a table a comment."""
    body, lines = ast.parse(code).body, code.splitlines()
    for node, below in zip_longest(body, body[1:]):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not of_numbers(node.value):
            continue
        name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        scalar = isinstance(node.value, (ast.Constant, ast.UnaryOp, ast.BinOp))
        commented = not scalar and lines[node.lineno - 2].startswith("# ")
        match below:
            case ast.Expr(value=ast.Constant(value=str(reason))) if len(reason.split()) > 3:
                continue
        if name.isupper() and not commented:
            yield name


def of_numbers(value: ast.expr | None) -> bool:
    """Whether an expression is made of numbers; the keys of a table may be anything."""
    match value:
        case ast.Constant(value=constant):
            return type(constant) in (int, float)
        case ast.UnaryOp(operand=operand):
            return of_numbers(operand)
        case ast.BinOp(left=left, right=right):
            return of_numbers(left) and of_numbers(right)
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Dict(values=items):
            return bool(items) and all(map(of_numbers, items))
        case ast.Call(func=ast.Name(id="bytes" | "range" | "timedelta")):
            items = [*value.args, *(keyword.value for keyword in value.keywords)]
            return all(map(of_numbers, items))
    return False


def test_every_constant_of_numbers_has_its_reason():
    # The numbers of the reference pipelines are those of architectures.
    ours = [path for path in SOURCES if path.parent.name != "reference"]
    missing = {path: list(numbers_without_a_reason(path.read_text("utf-8"))) for path in ours}
    assert {name: names for name, names in missing.items() if names} == {}


@pytest.mark.parametrize(
    "code",
    [
        "LIMIT_S = 30.0",
        "LIMIT_S: float = -30.0",
        "BYTES = 2**20\nOTHER = 'text'",
        "# A comment is for tables.\nLIMIT_S = 30.0",
        'LIMIT_S = 30.0\n"not a sentence"',
        "AGE = timedelta(minutes=20)",
        "SIZE = {'cpu': (1, 2)}",
        "LESS, MORE = 1, 2",
        'LESS = 1\nMORE = 2\n"It stands below one alone."',
    ],
)
def test_a_number_without_a_reason_is_found(code):
    assert len(list(numbers_without_a_reason(code))) == 1


@pytest.mark.parametrize(
    "code",
    [
        'LIMIT_S = 30.0\n"A longer one delays, a shorter one cuts off."',
        "# In bytes.\nSIZES = {'b': 1}",
        "NAME = 'text'",
        "NAMES = {1.0: 's'}",
        "counted = 3",
    ],
)
def test_what_has_a_reason_or_needs_none_is_not(code):
    assert list(numbers_without_a_reason(code)) == []


def test_there_is_no_package_below_tests():
    # With one, ``tests/storage`` would stand before ``storage``.
    assert [path for path in TESTS if path.name == "__init__.py"] == []
