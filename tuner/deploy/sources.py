"""Cut the source of some functions with all that it needs, to run without this project."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

OURS = ("search_space",)


@dataclass(frozen=True)
class Module:
    """The source of one of our modules and what its top level binds."""

    name: str
    lines: tuple[str, ...]
    names: dict[str, ast.stmt]


@dataclass(frozen=True)
class Definition:
    """A statement of ours, its text, and the names that must stand before it."""

    module: str
    line: int
    text: str
    before: frozenset[str]


@dataclass
class Cut:
    """The parts of the cut source: imports of others, and definitions of ours by name."""

    imports: set[str] = field(default_factory=set)
    definitions: dict[str, Definition] = field(default_factory=dict)

    def text(self) -> str:
        """The imports, then the definitions, each after those that it needs when it is run."""
        texts = [definition.text for definition in self._ordered()]
        return "\n".join(sorted(self.imports)) + "\n\n\n" + "\n\n\n".join(texts) + "\n"

    def _ordered(self) -> list[Definition]:
        ordered: dict[Definition, None] = {}
        visited: set[Definition] = set()

        def place(definition: Definition) -> None:
            if definition in visited:
                return
            visited.add(definition)
            for name in sorted(definition.before & self.definitions.keys()):
                place(self.definitions[name])
            ordered[definition] = None

        for definition in sorted(
            self.definitions.values(), key=lambda definition: (definition.module, definition.line)
        ):
            place(definition)
        return list(ordered)


def cut(functions: Iterable[tuple[str, str]]) -> str:
    """The source of ``(module, function)`` pairs with everything of ours that they name."""
    source = Cut()
    for module, name in functions:
        gather(module, name, source)
    return source.text()


def gather(module_name: str, name: str, source: Cut) -> None:
    """Add a top-level name of a module and, in turn, the names that its definition uses."""
    module = read_module(module_name)
    statement = module.names.get(name)
    if statement is None:
        return
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        _gather_import(statement, name, source)
        return
    definition = source.definitions.get(name)
    if definition is not None and definition.module != module_name:
        raise ValueError(
            f"{name!r} is defined in {definition.module} and in {module_name}: rename one"
        )
    if definition is not None:
        return
    before = frozenset(_names_run(statement))
    text = _source(module, statement)
    source.definitions[name] = Definition(module_name, statement.lineno, text, before)
    for used in _names_used(statement):
        gather(module_name, used, source)


def _gather_import(statement: ast.Import | ast.ImportFrom, name: str, source: Cut) -> None:
    alias = next(alias for alias in statement.names if (alias.asname or alias.name) == name)
    renamed = f" as {alias.asname}" if alias.asname else ""
    if isinstance(statement, ast.Import):
        source.imports.add(f"import {alias.name}{renamed}")
    elif (statement.module or "").split(".")[0] in OURS:
        gather(statement.module or "", alias.name, source)
    elif statement.module != "__future__":
        source.imports.add(f"from {statement.module} import {alias.name}{renamed}")


@cache
def read_module(name: str) -> Module:
    """Read a module of ours without running it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    statements = {name: node for node in ast.parse(text).body for name in _bound(node)}
    return Module(name, tuple(text.splitlines()), statements)


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name for alias in statement.names)
    elif isinstance(statement, ast.Assign):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _source(module: Module, statement: ast.stmt) -> str:
    """The lines of a definition; a knob's declaration, its decorator, is left behind."""
    first = statement.lineno
    if isinstance(statement, ast.ClassDef) and statement.decorator_list:
        first = statement.decorator_list[0].lineno
    return "\n".join(module.lines[first - 1 : statement.end_lineno])


def _names_used(statement: ast.stmt) -> set[str]:
    parts: list[ast.AST] = [statement]
    if isinstance(statement, ast.FunctionDef):
        parts = [*statement.body, statement.args]
        parts += [statement.returns] if statement.returns else []
    nodes = [node for part in parts for node in ast.walk(part)]
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def _names_run(statement: ast.stmt) -> set[str]:
    """The names that must be bound when the statement is run: not those in bodies of functions.

    What a constant is computed by may run whole, so of a constant it is all names.
    """
    return {node.id for node in _run(statement) if isinstance(node, ast.Name)}


def _run(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for field_name, value in ast.iter_fields(node):
        later = isinstance(node, ast.FunctionDef) and field_name in ("body", "decorator_list")
        if later or field_name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _run(child)
