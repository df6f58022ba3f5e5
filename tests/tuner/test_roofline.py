from __future__ import annotations

import pytest

from search_space.build import Build
from tuner.measuring.roofline import counted_call, reached, work_of_call

CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 3}


@pytest.fixture(scope="module")
def build(reference_folder, tmp_path_factory):
    from diffusers import DDIMScheduler

    made = Build(str(reference_folder("sd15-tiny")), "cpu", CALL, tmp_path_factory.mktemp("cache"))
    made.load_pipeline()
    made.pipe.set_progress_bar_config(disable=True)
    made.pipe.scheduler = DDIMScheduler.from_config(made.pipe.scheduler.config)
    return made


def test_the_operations_of_a_call_are_those_of_its_models(build):
    runs = []
    handle = build.pipe.unet.conv_in.register_forward_hook(lambda *args: runs.append(1))
    asked = work_of_call(build)
    handle.remove()
    assert len(runs) == 1
    with_one_step = Build(
        build.model, "cpu", {**CALL, "num_inference_steps": 1}, build.cache_dir, pipe=build.pipe
    )
    fewer = work_of_call(with_one_step)
    unet = sum(parameter.numel() for parameter in build.pipe.unet.parameters())
    assert asked["weights_read"] - fewer["weights_read"] == 2 * unet
    assert asked["flops"] > fewer["flops"] > 0


def test_attention_on_a_cpu_is_counted():
    import torch

    heads = torch.randn(1, 2, 16, 8)
    attend = torch.nn.functional.scaled_dot_product_attention
    flops, output = counted_call(attend, (heads, heads, heads), {})
    assert flops == 2 * 2 * (2 * 16 * 16 * 8)
    assert output.shape == heads.shape


WORK = {
    "flops": 1e12,
    "weights_read": 1e9,
    "fp32_flops_per_s": 2e11,
    "bf16_flops_per_s": 8e11,
    "copied_bytes_per_s": 2e10,
}


def test_the_limit_is_the_fastest_dtype_or_the_memory_whichever_is_longer():
    assert reached(WORK, 2.5) == {"utilization": pytest.approx(0.5), "peak": "bf16 peak"}
    many = {**WORK, "weights_read": 1e11}
    found = reached(many, 20.0)
    assert found == {"utilization": pytest.approx(0.5), "peak": "memory bandwidth in bf16"}


@pytest.mark.parametrize(("work", "latency_s"), [({}, 1.0), (WORK, None)])
def test_what_was_not_counted_has_no_share(work, latency_s):
    assert reached(work, latency_s) == {"utilization": None, "peak": None}
