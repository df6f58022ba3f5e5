from __future__ import annotations

import pytest

from tuner.reference import build


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory):
    """A cache folder in which the smallest reference pipeline has been built."""
    folder = tmp_path_factory.mktemp("cache")
    build("sd15-tiny", folder)
    return folder
