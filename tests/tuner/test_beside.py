"""Which trial's process a search keeps alive, and what the ledger keeps of that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.config import BASELINE, Config
from search_space.space import Space
from search_space.trial import Failure, FailureKind, Peak, Purpose
from tests.tuner.simulation import Quiet, Simulation, context, plan
from tuner.bench import Bench
from tuner.measuring.interleaving import possible
from tuner.records.objective import Objective

pytestmark = pytest.mark.skipif(not possible(), reason="there are no such sockets here")
SLOWER, FASTER = Config({"attention": "plain"}), Config({"precision": "bf16"})
LAST = Config({"memory_format": "channels_last"})


class Beside(Simulation):
    """A machine on which calls beside the incumbent's take twice what they take alone."""

    crowded = gone = False

    def outcome(self, config, job):
        outcome = super().outcome(config, job)
        if self.crowded and job.beside is not None:
            return Failure(FailureKind.HOST_OUT_OF_MEMORY, "it was killed", "load")
        outcome = replace(outcome, peaks=(Peak("host", "steady", "simulated", 2**20),))
        if job.beside is None or self.gone:
            return outcome
        seconds = {
            "steady": tuple(2 * call_s for call_s in outcome.seconds["steady"]),
            "incumbent": (2 * job.beside_s,) * 3,
            "incumbent_known": (job.beside_s,),
        }
        turns = {"steady": (0, 1, 2), "incumbent": (0, 1, 2)}
        return replace(outcome, seconds=outcome.seconds | seconds, turns=turns)


@pytest.fixture
def simulation():
    return Beside()


@pytest.fixture
def bench(tmp_path, store, simulation):
    with Bench(plan(tmp_path), store, simulation, Quiet()) as opened:
        yield opened


def test_the_fastest_so_far_stays_alive_and_is_known_by_its_latency(bench, simulation):
    for config in (BASELINE, SLOWER, FASTER, LAST):
        bench.measure(config, Purpose.SEARCH if config else Purpose.BASELINE)
    assert all(job.stays for job in simulation.jobs)
    assert [job.beside for job in simulation.jobs] == [None, BASELINE, BASELINE, FASTER]
    assert [job.beside_s for job in simulation.jobs[1:]] == pytest.approx([10.0, 10.0, 5.0])


def test_what_slows_both_leaves_the_latency_as_it_is_also_in_the_ledger(bench, store):
    first = bench.measure(BASELINE, Purpose.BASELINE)
    second = bench.measure(FASTER)
    assert second.incumbent == first.number
    assert second.measurement.latency_s == pytest.approx(5.0)
    assert second.measurement.seconds["steady"][0] == pytest.approx(10.0)
    stored = store.trial(second.number).trial
    assert stored.measurement == second.measurement
    assert (stored.incumbent, store.trial(first.number).trial.incumbent) == (first.number, None)


def test_an_incumbent_that_has_gone_is_replaced(bench, simulation):
    bench.measure(BASELINE, Purpose.BASELINE)
    simulation.gone = True
    assert bench.measure(LAST).incumbent is None
    bench.measure(SLOWER)
    assert simulation.jobs[-1].beside == LAST


def test_what_runs_out_of_memory_beside_the_incumbent_is_measured_alone(bench, simulation):
    bench.measure(BASELINE, Purpose.BASELINE)
    simulation.crowded = True
    trial = bench.measure(FASTER)
    assert trial.measurement is not None
    assert [job.beside for job in simulation.jobs] == [None, BASELINE, None]


@pytest.mark.parametrize("case", ["accelerator", "no room", "memory"])
def test_nothing_stays_alive_where_it_would_disturb(tmp_path, store, case):
    simulation, planned = Beside(), plan(tmp_path)
    if case == "accelerator":
        planned = replace(planned, space=Space(context("cuda")))
    if case == "memory":
        planned = replace(planned, objective=Objective("memory"))
    with Bench(planned, store, simulation, Quiet()) as bench:
        if case == "no room":
            bench.measure(BASELINE, Purpose.BASELINE)
            held = Peak("host", "steady", "simulated", 2**60)
            large = replace(bench.trials[0].outcome, peaks=(held,))
            bench.trials[0] = replace(bench.trials[0], outcome=large)
        bench.measure(LAST)
        bench.measure(FASTER)
    assert [(job.stays, job.beside) for job in simulation.jobs[-2:]] == [(False, None)] * 2
