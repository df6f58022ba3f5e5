"""Other processes on this machine, counted by the controller before a run."""

from __future__ import annotations

import os
import time

from search_space.trial import OTHERS_CORES
from tuner.measuring.noise.guard import Counters, conditions_between

LOOK_S = 0.5
"""Long enough for the kernel's ticks of 10 ms to tell a twentieth of a core."""


BUSY_CORES = 0.25
"""From this much on a neighbour makes figures untellable: threads that wait for each other wait for
the one whose core it has. Less is what an idle system takes now and then."""


def busy(look_s: float = LOOK_S) -> str | None:
    """What other processes take of this machine's cores, where it spoils timing, or None."""
    counters = Counters(os.getpid())
    before = counters.read()
    time.sleep(look_s)
    for condition in conditions_between(before, counters.read(), counters.cores):
        if condition.kind == OTHERS_CORES and condition.complaint:
            cores = f"{condition.value:.1f} of {counters.cores} cores"
            if condition.value <= BUSY_CORES:
                return f"Other processes take {cores}: figures are rough."
            return (
                f"Other processes take {cores}: calls may take many times as long, and no speed-up "
                "can be told until they end."
            )
    return None
