"""The scatter of samples, and the interval of their median."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, stdev

NORMAL = 1.4826
"""The standard deviation of normal samples over their median absolute deviation."""


STUDENT_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""The 97.5 % quantile for 1, 2 ... degrees of freedom, the last also for more: of three samples
little is known."""


def spread(samples: Sequence[float]) -> float:
    """The scatter of samples as a standard deviation that outliers do not move."""
    middle = median(samples)
    return NORMAL * median(abs(sample - middle) for sample in samples)


def half_width_s(samples_s: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the median of two or more normal samples."""
    quantile = STUDENT_T[min(len(samples_s) - 1, len(STUDENT_T)) - 1]
    return quantile * standard_error_s(samples_s)


def standard_error_s(samples_s: Sequence[float]) -> float:
    """The standard error of the median of two or more normal samples: 1.2533 that of the mean."""
    return float(1.2533 * stdev(samples_s) / len(samples_s) ** 0.5)
