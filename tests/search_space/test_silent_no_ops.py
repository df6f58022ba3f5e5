"""Switches that say nothing and do nothing; those of attention and of caches are tested apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from search_space.build import Build
from search_space.construct import construct, no_effect
from search_space.pipeline_spec import read_spec
from search_space.space import Space, check_known
from search_space.workload import Workload

CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 2}

# diffusers 0.42 hands a tensor to numpy.array in EulerDiscreteScheduler.set_timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def make(reference_folder: Callable[[str], Path], tmp_path: Path) -> Callable[..., Build]:
    """A pipeline with a config, whether or not the config is available."""

    def build(family: str, config: dict[str, str], **call: Any) -> Build:
        made = Build(str(reference_folder(family)), "cpu", {**CALL, **call}, tmp_path)
        construct(made, config).set_progress_bar_config(disable=True)
        return made

    return build


def reason(context: Any, name: str, value: str) -> str | None:
    return Space(context).reason(check_known(name), value)


@pytest.mark.parametrize(("side_px", "tiles"), [(128, False), (144, True)])
def test_an_image_that_fits_into_one_tile_is_decoded_whole(side_px, tiles, make):
    config = {"vae_tiling": "on"}
    build = make("sd15-tiny", config, height=side_px, width=side_px)
    build.pipe(**build.call)
    whole = "vae_tiling=on had no effect: the VAE decoded the image whole"
    assert no_effect(build, config) == (None if tiles else whole)


# diffusers 0.42 keeps the ratio of that of Cosmos in its config alone, and says so.
@pytest.mark.filterwarnings("ignore:Accessing config attribute:FutureWarning")
@pytest.mark.parametrize(
    ("name", "tiles"), [("AutoencoderKLCosmos", False), ("AutoencoderTiny", True)]
)
def test_a_vae_with_the_switch_and_no_tiles_is_not_offered_them(
    name, tiles, describe, reference_folder, tmp_path
):
    # That of Cosmos takes the switch and decodes whole, however large the image is.
    with torch.device("meta"):
        assert hasattr(getattr(diffusers, name)(), "use_tiling")
    folder = shutil.copytree(reference_folder("sd15-tiny"), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    index["vae"] = ["diffusers", name]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "vae" / "config.json").write_text("{}")
    large = Workload("", height_px=1024, width_px=1024)
    context = replace(describe(workload=large), spec=read_spec(folder))
    said = None if tiles else f"{name} cannot decode in tiles"
    assert reason(context, "vae_tiling", "on") == said
