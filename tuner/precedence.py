"""Our packages come before a user's packages of the same names.

Any folder on the path may hold a ``storage.py`` of the user's. A process of ours finds our packages
where this file lies all the same, and everything else where Python would. An application keeps its
own until it loads something.

``python -P precedence.py MODULE ARGUMENTS`` calls ``main`` of a module of ours in such a process.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

OURS = ("search_space", "storage", "tuner")
FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Claims:
    """Finds the claimed packages in our folder, whatever comes before it on the path."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a claimed package lies; None has Python look further."""
        return PathFinder.find_spec(name, [FOLDER]) if name in self.names else None


CLAIMS = Claims()


def claim(*names: str) -> None:
    """Have these names mean our packages; raises UsageError where another has been imported."""
    for name in names:
        if (file := _stranger(name)) is not None:
            raise errors().UsageError(
                f"{file} was imported as {name!r}, and diffusers-autotune has a package of that"
                " name: give yours another"
            )
    CLAIMS.names.update(names)
    if CLAIMS not in sys.meta_path:
        sys.meta_path.insert(0, CLAIMS)


def _stranger(name: str) -> str | None:
    """The file of what has been imported by this name, if it is not ours."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:
        return repr(module) if module else None
    own_file = os.path.join(FOLDER, name, "__init__.py")
    return None if os.path.realpath(file) == os.path.realpath(own_file) else file


@cache
def errors() -> Any:
    """The module of our errors, also where ``search_space`` is another's."""
    if _stranger("search_space") is None:
        claim("search_space")
        return importlib.import_module("search_space.errors")
    file = os.path.join(FOLDER, "search_space", "errors.py")
    spec = spec_from_file_location("errors_of_search_space", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    claim(*OURS)
    importlib.import_module(sys.argv.pop(1)).main()
