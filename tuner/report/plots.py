"""The plots of stored trials: one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from search_space.errors import UsageError
from search_space.units import format_duration, format_size
from tuner.history.read import front
from tuner.records.trial_record import TrialRecord
from tuner.report.format import counted
from tuner.report.trials import heading

INK = "#808080"
"""Readable on white and on black: the page follows the reader's light or dark scheme."""

COLOURS = {"measured": "#3b82c4", "infeasible": "#d08a2e"}
GIB = 2**30
"""Bytes of a GiB, the unit of the axis of memory."""
SEARCHED = ("baseline", "search")
FAR = 1.5
"""A budget that is further from the largest peak than this would squeeze the trials together."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
h3 {{ font-size: 1rem; margin-bottom: 0; }}
.plot {{ overflow-x: auto; }}
</style>
<script>{script}</script>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(groups: Sequence[tuple[Sequence[TrialRecord], Mapping[str, Any]]]) -> str:
    """The page: for each group of comparable trials its plots, and those that others made."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        extra = "pip install 'diffusers-autotune[plot]'"
        raise UsageError(f"plotly is not installed: {extra}") from error
    count = counted(sum(len(records) for records, _ in groups), "stored trial")
    parts = [part for records, others in groups for part in _section(records, others)]
    return PAGE.format(title=count, script=get_plotlyjs(), body="\n".join(parts))


def _section(records: Sequence[TrialRecord], others: Mapping[str, Any]) -> list[str]:
    figures = {
        "Latency against memory, with the Pareto front": pareto_figure(records),
        "The fastest so far, over the seconds of the trials": curve_figure(records),
        **others,
    }
    sections = [f"<h2>{escape(heading(records[-1]))}</h2>"]
    failed = sum(record.state == "failed" for record in records)
    measured = counted(len(records) - failed, "trial")
    sections.append(f"<p>{measured} that ran, {failed} that failed.</p>")
    for title, figure in figures.items():
        _style(figure)
        sections.append(f"<h3>{escape(title)}</h3>")
        html = figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            config={"responsive": True, "displayModeBar": False},
        )
        sections.append(f'<div class="plot">{html}</div>')
    return sections


def pareto_figure(records: Sequence[TrialRecord]) -> Any:
    """Latency against peak memory, a dot a trial of the search: races measure otherwise."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for state, colour in COLOURS.items():
        shown = [
            (record, record.peak_bytes / GIB, record.latency_s)
            for record in records
            if record.state == state and record.latency_s and record.peak_bytes
            if record.purpose in SEARCHED
        ]
        figure.add_scatter(
            x=[memory for _, memory, _ in shown],
            y=[latency for _, _, latency in shown],
            text=[_words(record) for record, _, _ in shown],
            mode="markers",
            name=state,
            marker={"color": colour, "size": 8},
            hoverinfo="text",
        )
    on_front = sorted(front(records), key=lambda record: record.peak_bytes or 0)
    figure.add_scatter(
        x=[(record.peak_bytes or 0) / GIB for record in on_front],
        y=[record.latency_s for record in on_front],
        mode="lines",
        line={"shape": "hv", "color": INK, "dash": "dot"},
        name="Pareto front",
        hoverinfo="skip",
    )
    largest_bytes = max((record.peak_bytes or 0 for record in records), default=0)
    for limit_bytes in sorted({record.memory_bytes for record in records if record.memory_bytes}):
        if limit_bytes <= FAR * largest_bytes:
            text, place = f"budget {format_size(limit_bytes)}", "top left"
            figure.add_vline(
                limit_bytes / GIB, line_color=INK, annotation_text=text, annotation_position=place
            )
    figure.update_layout(xaxis_title="peak memory in GiB", yaxis_title="latency in s")
    figure.update_yaxes(type="log")
    return figure


def curve_figure(records: Sequence[TrialRecord]) -> Any:
    """The lowest latency so far over the seconds that the trials have taken."""
    import plotly.graph_objects as go

    spent_s, best_s = 0.0, float("inf")
    points: list[tuple[float, float, str]] = []
    for record in sorted(records, key=lambda record: record.number):
        if record.purpose not in SEARCHED:
            continue
        spent_s += record.cost_s
        if record.is_measured and record.latency_s is not None and record.latency_s < best_s:
            best_s = record.latency_s
            points.append((spent_s, best_s, _words(record)))
    if points:
        points.append((spent_s, best_s, "the end of the search"))
    figure = go.Figure()
    figure.add_scatter(
        x=[point[0] for point in points],
        y=[point[1] for point in points],
        text=[point[2] for point in points],
        mode="lines+markers",
        line={"shape": "hv", "color": COLOURS["measured"]},
        hoverinfo="text",
        showlegend=False,
    )
    figure.update_layout(xaxis_title="seconds of search", yaxis_title="latency in s")
    return figure


def _words(record: TrialRecord) -> str:
    latency = format_duration(record.latency_s) if record.latency_s else "failed"
    memory = f", {format_size(record.peak_bytes)}" if record.peak_bytes else ""
    config = escape(record.config.describe()).replace(", ", "<br>")
    return f"trial {record.number}: {latency}{memory}<br>{config}"


def _style(figure: Any) -> None:
    line = {"gridcolor": "rgba(128,128,128,0.25)", "zerolinecolor": "rgba(128,128,128,0.25)"}
    figure.update_layout(
        title=None,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK},
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 60, "r": 20, "t": 20, "b": 60},
    )
    figure.update_xaxes(**line)
    figure.update_yaxes(**line)
