from __future__ import annotations

import pytest

from search_space.build import Build
from tuner.measuring.call_parts import Stopwatch
from tuner.measuring.calls import timed_call

CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 3}
CALL["output_type"] = "np"


def loaded(folder, cache_dir):
    from diffusers import DDIMScheduler

    made = Build(str(folder), "cpu", CALL, cache_dir)
    made.load_pipeline()
    made.pipe.set_progress_bar_config(disable=True)
    # That of the reference takes a step more than it is asked for.
    made.pipe.scheduler = DDIMScheduler.from_config(made.pipe.scheduler.config)
    return made


@pytest.fixture(scope="module")
def build(reference_folder, tmp_path_factory):
    return loaded(reference_folder("sd15-tiny"), tmp_path_factory.mktemp("cache"))


def stages_of(build, stopwatch):
    return timed_call(build.pipe, build.call, "cpu", 0, stopwatch)


def test_text_encoding_steps_and_decode_add_up_to_less_than_the_call(build):
    stopwatch = Stopwatch("cpu")
    with stopwatch.on(build):
        stages_of(build, stopwatch)
        call = stages_of(build, stopwatch)
    assert {stage: len(spent) for stage, spent in call.parts_s.items()} == {
        "text_encoding": 1,
        "step": 3,
        "decode": 1,
    }
    spent_s = [second for samples in call.parts_s.values() for second in samples]
    assert min(spent_s) > 0
    assert sum(spent_s) < call.call_s


def test_afterwards_the_models_are_as_they_were(build):
    parts = [build.pipe.unet, build.pipe.text_encoder, build.pipe.vae]
    before = [dict(vars(part)) for part in parts]
    with Stopwatch("cpu").on(build):
        assert [dict(vars(part)) for part in parts] != before
    assert [dict(vars(part)) for part in parts] == before


def test_without_a_callback_a_run_of_the_denoiser_is_a_step(build):
    stopwatch = Stopwatch("cpu")
    with stopwatch.on(build):
        build.pipe(**CALL)
    assert len(stopwatch.read()["step"]) == 3


@pytest.mark.parametrize("how", ["compiled", "replaced", "offloaded"])
def test_what_knobs_put_around_a_model_is_within_its_stage(
    reference_folder, tmp_path, how, monkeypatch
):
    import torch

    build = loaded(reference_folder("sd15-tiny"), tmp_path)
    unet = build.pipe.unet
    graphs = []
    if how == "compiled":

        def backend(graph, inputs):
            graphs.append(graph)
            return graph.forward

        unet.compile(backend=backend)
    elif how == "replaced":
        build.entries("engine")[0].replace(unet.forward)
    else:
        # As with model offload: the call takes the hook out and puts it in again.
        from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

        add_hook_to_module(unet, ModelHook())
        free = build.pipe.maybe_free_model_hooks

        def again():
            remove_hook_from_module(unet)
            add_hook_to_module(unet, ModelHook())
            free()

        monkeypatch.setattr(build.pipe, "maybe_free_model_hooks", again)
    stopwatch = Stopwatch("cpu")
    with stopwatch.on(build):
        for _ in range(2):
            call = stages_of(build, stopwatch)
            assert len(call.parts_s["step"]) == 3
            assert len(stopwatch._spans["step"]) == 3
    assert len(graphs) == (1 if how == "compiled" else 0)
    torch._dynamo.reset()
