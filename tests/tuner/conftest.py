from __future__ import annotations

import pytest
import torch

from tests.tuner.lpips_weights import random_weights
from tuner.lpips import BACKBONE, HEADS
from tuner.reference import build


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory):
    """A cache folder in which the smallest reference pipeline has been built."""
    folder = tmp_path_factory.mktemp("cache")
    build("sd15-tiny", folder)
    return folder


@pytest.fixture(scope="session")
def lpips_folder(tmp_path_factory):
    """A folder with files such as those by which LPIPS is measured."""
    folder = tmp_path_factory.mktemp("lpips")
    for name, tensors in zip((BACKBONE, HEADS), random_weights(), strict=True):
        torch.save(tensors, folder / name)
    return str(folder)
