"""How a store says that it does not work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from search_space.errors import StoreError


@contextmanager
def refused(part: str) -> Iterator[None]:
    with pytest.raises(StoreError) as caught:
        yield
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "sqlalche" not in str(caught.value)
