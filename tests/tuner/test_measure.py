from __future__ import annotations

from contextlib import nullcontext

from tuner.measure import Call, measure


def replay(*calls_s):
    left = list(calls_s)
    return lambda: Call(None, left.pop(0), (0.1,))


def seconds_of(*calls_s, device="cpu", cap_s=None):
    phases = []
    seconds, _ = measure(replay(*calls_s), phases.append, device, cap_s, nullcontext())
    return seconds, phases


def test_first_call_warm_up_and_steady_calls_are_kept_apart():
    seconds, phases = seconds_of(5.0, 1.0, 1.01, 1.0, 1.0, 1.0)
    assert seconds["first_call"] == (5.0,)
    assert seconds["warm_up"] == (1.0, 1.01)
    assert seconds["steady"] == (1.0, 1.0, 1.0)
    assert phases == ["first_call", "warm_up", "warm_up", "steady", "steady", "steady"]


def test_warm_up_ends_after_three_calls_whatever_they_do():
    seconds, _ = seconds_of(9.0, 5.0, 3.0, 2.0, 1.0, 1.0, 1.0)
    assert seconds["warm_up"] == (5.0, 3.0, 2.0)


def test_noise_asks_for_more_samples_up_to_ten():
    noisy = [1.0, 1.5] * 10
    seconds, _ = seconds_of(1.0, 1.0, *noisy)
    assert len(seconds["steady"]) == 10


def test_long_calls_stop_after_three_samples_though_noisy():
    seconds, _ = seconds_of(20.0, 20.0, 20.0, 30.0, 25.0)
    assert seconds["steady"] == (20.0, 30.0, 25.0)


def test_a_call_that_cannot_win_is_the_last():
    seconds, _ = seconds_of(4.0, 4.0, 4.0, cap_s=3.0)
    assert seconds["steady"] == (4.0,)


def test_an_accelerator_is_measured_more_narrowly():
    spread = [1.0, 1.012, 1.024] * 4
    on_cpu, _ = seconds_of(1.0, 1.0, *spread)
    on_gpu, _ = seconds_of(1.0, 1.0, *spread, device="cuda")
    assert len(on_gpu["steady"]) > len(on_cpu["steady"])
