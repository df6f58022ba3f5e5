"""Several at once: two runs of the same workload, and readers beside them."""

from __future__ import annotations

import signal

from tests.faults.fault import FAULTS
from tests.faults.lab import Lab


@FAULTS.fault("together", "two runs of the same workload and a reader at once")
def two_runs(lab: Lab) -> None:
    first, second = lab.run(), lab.run()
    while any(running.process.poll() is None for running in (first, second)):
        reading = lab.start("trials", "--json", "--store", lab.store).end()
        if reading.code not in (0, 2):
            lab.wrong.append(f"a reader ended with {reading.code}: {reading.said}")
        lab.expect_no_traceback(reading)
        lab.stored()
        lab.pause(1.0)
    lab.expect(first.end(), 0)
    lab.expect(second.end(), 0)
    lab.expect_emitted()


@FAULTS.fault("together", "two runs of the same workload, one of which is killed (kill -9)")
def one_of_two_is_killed(lab: Lab) -> None:
    first = lab.run()
    lab.until_phase("load")
    second = lab.run()
    lab.until_phase("steady")
    first.signal(signal.SIGKILL)
    first.end()
    lab.expect(second.end(), 0)
    lab.expect_emitted()
