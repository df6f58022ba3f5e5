from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_space.build import Build
from search_space.catalog import check_known
from search_space.construct import construct, no_effect
from search_space.knob import Tier
from search_space.knobs.cache_dual_block import KNOWN_TO_CACHE_DIT
from search_space.pipeline.step_caches import guides_apart, hooks_of
from search_space.space import Space
from search_space.workload import Workload

FAMILIES = ("sd15-tiny", "sdxl-tiny", "sd3-tiny", "flux-tiny", "wan-tiny", "ltx-tiny")
KINDS = ("first-block", "mag", "pyramid", "taylorseer", "dual-block", "deepcache")
NUM_FRAMES = {"wan-tiny": 5, "ltx-tiny": 9}

# diffusers 0.42 hands a tensor to numpy.array in EulerDiscreteScheduler.set_timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def start(
    reference_folder: Callable[[str], Path], calm_folder: Callable[[str], Path], tmp_path: Path
) -> Callable[..., Build]:
    """A build of 8 steps, to which no choice has been applied."""

    def started(family: str, calm: bool = True) -> Build:
        call = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 8}
        frames = {"num_frames": NUM_FRAMES[family]} if family in NUM_FRAMES else {}
        folder = (calm_folder if calm else reference_folder)(family)
        call |= {**frames, "output_type": "latent"}
        return Build(str(folder), "cpu", call, tmp_path)

    return started


def called(build: Build, config: dict[str, str]) -> str | None:
    """What the effect checks see after one call."""
    construct(build, config).set_progress_bar_config(disable=True)
    build.pipe(**build.call, generator=torch.Generator().manual_seed(0))
    return no_effect(build, config)


def offered(describe: Callable, family: str) -> set[str]:
    """The caches that are offered for a family, by the beginnings of their names."""
    context = replace(describe("cpu", family, Workload(family, steps=20)), quality=Tier.LOSSY)
    values = Space(context).choices["cache"][1:]
    return {kind for kind in KINDS for value in values if value.startswith(kind)}


@pytest.mark.parametrize(
    ("family", "caches"),
    [
        ("sd15-tiny", {"deepcache"}),
        ("sdxl-tiny", {"deepcache"}),
        ("sd3-tiny", {"dual-block"}),
        ("flux-tiny", {"first-block", "mag", "pyramid", "taylorseer", "dual-block"}),
        ("wan-tiny", {"first-block", "mag", "taylorseer", "dual-block"}),
        ("ltx-tiny", {"first-block", "mag", "pyramid", "taylorseer", "dual-block"}),
    ],
)
def test_each_family_is_offered_the_caches_that_can_act_on_it(family, caches, describe):
    assert offered(describe, family) == caches


def test_what_is_silent_on_a_model_is_not_offered(describe, reference_spec):
    # TaylorSeer's own patterns match the names of Flux alone, and say nothing elsewhere.
    knob = check_known("cache")
    for family in ("wan-tiny", "ltx-tiny"):
        context = describe("cpu", family)
        assert "this cache finds nothing to hook in" in knob.choice("taylorseer-3").need(context)
        assert knob.choice("taylorseer-lite-3").need(context) is None
    assert reference_spec("sd3-tiny").denoisers[0].step_caches == ()


def test_sea_and_text_kv_have_no_choice_because_they_say_nothing_and_do_nothing(start):
    from diffusers import SeaCacheConfig, TextKVCacheConfig

    build = start("flux-tiny")
    construct(build, {}).set_progress_bar_config(disable=True)

    def latents() -> torch.Tensor:
        made: torch.Tensor = build.pipe(**build.call, generator=torch.manual_seed(0)).images
        return made

    untouched = latents()
    for config in (SeaCacheConfig(), TextKVCacheConfig()):
        build.pipe.transformer.enable_cache(config)
        assert torch.equal(latents(), untouched)
        build.pipe.transformer.disable_cache()


def test_a_cache_needs_steps_that_are_alike(describe):
    knob = check_known("cache")
    for family, value in (("flux-tiny", "first-block-0.1"), ("sd15-tiny", "deepcache-2")):
        few = describe("cpu", family, Workload(family, steps=4))
        assert knob.choice(value).need(few) == "a cache is for 8 steps or more, the workload has 4"
        assert knob.choice(value).need(describe("cpu", family, Workload(family, steps=8))) is None


def test_a_pipeline_that_does_not_name_its_calls_has_no_cache(describe):
    context = describe("cpu", "flux-tiny")
    silent = replace(context, spec=replace(context.spec, sets_cache_context=False))
    need = check_known("cache").choice("mag-0.06").need
    assert need(context) is None
    assert need(silent) == "FluxPipeline does not tell a cache which of its calls is which"


def test_guidance_by_a_second_call_is_read_from_the_source(describe):
    assert guides_apart('cache_context("cond") cache_context("uncond")', {})
    assert guides_apart("cache_context(context_name)", {})
    assert not guides_apart('cache_context("cond") cache_context("uncond")', {"true_cfg_scale": 1})
    assert not guides_apart('cache_context("cond_uncond")', {})
    assert check_known("cache").choice("pyramid-2").need(describe("cpu", "wan-tiny")) == (
        "WanPipeline guides by a second call, which would get the attention of the first"
    )


@pytest.mark.parametrize("engine", ["compile-regional", "onnxruntime", "openvino"])
@pytest.mark.parametrize("value", ["first-block-0.1", "taylorseer-3", "dual-block-0.08"])
def test_a_graph_that_skips_nothing_is_ruled_out(value, engine, describe):
    clash = Space(describe("cpu", "flux-tiny")).clash({"cache": value, "engine": engine})
    assert clash.endswith("what is computed is decided at each step, outside of a graph")


def test_what_is_left_out_of_graphs_is_not_compiled(describe):
    # MagCache with regional compilation captured no graph at all, as a whole next to none.
    space = Space(describe("cpu", "flux-tiny"))
    for engine in ("compile-regional", "compile-default"):
        clash = space.clash({"cache": "mag-0.06", "engine": engine})
        assert clash.endswith("its hooks keep the blocks out of every graph")


def test_deepcache_stands_around_regions_and_not_inside_a_graph(describe):
    space = Space(describe("cpu", "sd15-tiny"))
    assert space.clash({"cache": "deepcache-2", "engine": "compile-regional"}) is None
    assert space.clash({"cache": "deepcache-2", "engine": "compile-default"})


def test_a_threshold_that_is_never_met_is_found_out(start):
    # With random weights the steps are not alike: the cache stands there and skips nothing.
    seen = called(start("flux-tiny", calm=False), {"cache": "first-block-0.05"})
    assert seen == (
        "cache=first-block-0.05 had no effect: none of 8 calls of the denoiser skipped anything"
    )


@pytest.mark.parametrize("family", ["flux-tiny", "wan-tiny"])
def test_blocks_that_are_skipped_are_not_computed(family, start):
    build = start(family)
    config = {"cache": "first-block-0.2"}
    construct(build, config).set_progress_bar_config(disable=True)
    transformer, computed = build.pipe.transformer, []
    blocks = (getattr(transformer, "single_transformer_blocks", None) or transformer.blocks)[-1]
    layer = next(part for part in blocks.modules() if isinstance(part, torch.nn.Linear))
    layer.register_forward_hook(lambda *_: computed.append(1))
    build.pipe(**build.call, generator=torch.Generator().manual_seed(0))
    calls = build.evidence["calls_by_skipping"]
    assert no_effect(build, config) is None
    assert 0 < len(computed) == calls[False] and calls[True] > 0


def test_taylorseer_where_it_matches_nothing_is_found_out(start):
    build = start("ltx-tiny")
    construct(build, {}).set_progress_bar_config(disable=True)
    choice = check_known("cache").choice("taylorseer-3")
    choice.apply(build, choice.value)
    build.pipe(**build.call)
    assert hooks_of(build.pipe.transformer, "taylorseer") == []
    seen = choice.effect(build, choice.value)
    assert seen == "none of 8 calls of the denoiser skipped anything"


def test_the_ratios_are_measured_once_and_kept_by_what_is_called(start):
    phases: list[str] = []
    build = start("ltx-tiny")
    build.enter = phases.append
    assert called(build, {"cache": "mag-0.12"}) is None
    (kept,) = (build.cache_dir / "ratios").iterdir()
    (ratios,) = json.loads(kept.read_text()).values()
    assert len(ratios) == 8 and ratios[0] == 1.0 and len(set(ratios)) > 2
    assert phases == ["calibrate", "load"]

    again = start("ltx-tiny")
    again.enter = phases.append
    construct(again, {"cache": "mag-0.06"})
    assert phases == ["calibrate", "load"]
    again.pipe.transformer.disable_cache()
    again.call["num_inference_steps"] = 9
    check_known("cache").choice("mag-0.06").apply(again, "mag-0.06")
    assert len(phases) == 4
    assert len(list((build.cache_dir / "ratios").iterdir())) == 2


def test_guidance_by_a_second_call_has_ratios_of_its_first(start):
    build = start("wan-tiny")
    assert called(build, {"cache": "mag-0.24"}) is None
    (kept,) = (build.cache_dir / "ratios").iterdir()
    assert [len(ratios) for ratios in json.loads(kept.read_text()).values()] == [8]


def test_the_pipelines_of_cache_dit_are_those_that_it_names():
    cache_dit = pytest.importorskip("cache_dit")
    assert sorted(KNOWN_TO_CACHE_DIT) == sorted(cache_dit.supported_pipelines()[1])


def test_the_packages_are_asked_for_by_their_extra(describe):
    for family, value, package in (
        ("sd3-tiny", "dual-block-0.08", "cache-dit"),
        ("sd15-tiny", "deepcache-2", "DeepCache"),
    ):
        need = check_known("cache").choice(value).need
        assert need(describe("cpu", family, packages={})) == (
            f"{package} is not installed: pip install 'diffusers-autotune[caches]'"
        )


def test_deepcache_is_for_a_unet_and_cache_dit_for_what_it_knows(describe):
    knob = check_known("cache")
    assert knob.choice("deepcache-2").need(describe("cpu", "flux-tiny")) == (
        "DeepCache is made for one UNet2DConditionModel, the pipeline has FluxTransformer2DModel"
    )
    assert knob.choice("dual-block-0.08").need(describe("cpu", "sd15-tiny")) == (
        "cache-dit does not know StableDiffusionPipeline"
    )
