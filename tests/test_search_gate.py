"""The search does not get worse: small machines, fixed seeds, the same result every time.

A limit lies a little below what the search reached when it was set, with the figure beside it: a
change of the search may turn one machine around. Raise the limits with the search, and lower them
for nothing. At 15 trials random reached a mean of .60, coordinate descent .86 and TPE .90.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.search.machines import draw_machine
from tests.benchmarks.search.replaying import WITHIN, replay
from tests.benchmarks.search.spaces import SMALL

TRIALS = 15
MACHINES = range(6)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("strategy", "least_mean", "least_within"),
    [
        ("ours", 0.88, 4),  # It reached .93, and came near the optimum of five machines of six.
        ("ours-alone", 0.72, 3),  # .77 and four.
    ],
)
def test_the_search_finds_what_it_found(strategy, least_mean, least_within):
    ends = [replay(draw_machine(each, SMALL), strategy, 0, TRIALS) for each in MACHINES]
    fractions = [curve.fractions[-1] for curve in ends]
    assert sum(fractions) / len(fractions) >= least_mean, fractions
    assert sum(fraction >= WITHIN for fraction in fractions) >= least_within, fractions
