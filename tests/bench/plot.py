"""Draws plots, in the peers' environment, where matplotlib is. What to draw comes as JSON on stdin.

`rows` are bars, with the spread of their runs; `panels` are lines, one panel above the other, along one axis.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "sallyport"  # equal figures make an equal file

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

COLOURS = ("#1f5f8b", "#c8553d")
WIDE = 20
"""How many times the least the most is where bars are on a logarithmic axis: on one their lengths do not compare."""


def main() -> None:
    given = json.load(sys.stdin)
    figure = bars(given) if "rows" in given else lines(given)
    figure.tight_layout()
    figure.savefig(given["file"], metadata={"Date": None})


def lines(given: dict[str, Any]) -> Figure:
    panels = given["panels"]
    figure, axes = plt.subplots(len(panels), 1, sharex=True, figsize=(9, 2.1 * len(panels)))
    for place, panel in zip(axes, panels, strict=True):
        for (name, points), colour in zip(panel["lines"].items(), COLOURS, strict=False):
            place.plot([x for x, _ in points], [y for _, y in points], color=colour, linewidth=1, label=name)
        place.set_ylim(bottom=0)
        place.set_title(panel["title"], loc="left", fontsize=9)
        place.spines[["top", "right"]].set_visible(False)
        if len(panel["lines"]) > 1:
            place.legend(frameon=False, fontsize=8)
    axes[-1].set_xlabel(given["across"])
    return figure


def bars(given: dict[str, Any]) -> Figure:
    rows = given["rows"][::-1]
    medians = [statistics.median(row["runs"]) for row in rows]
    spread = [
        [median - min(row["runs"]) for row, median in zip(rows, medians, strict=True)],
        [max(row["runs"]) - median for row, median in zip(rows, medians, strict=True)],
    ]
    figure, axes = plt.subplots(figsize=(9, 4.2))
    colours = ["#1f5f8b" if row["ours"] else "#b0b7bd" for row in rows]
    axes.barh([row["title"] for row in rows], medians, xerr=spread, color=colours, ecolor="#444444", capsize=2)
    scale = ""
    if max(medians) > WIDE * min(medians):
        axes.set_xscale("log")
        scale = " (logarithmic)"
    axes.set_xlabel(f"{given['axis']}{scale}; median, least and most")
    for place, (row, median) in enumerate(zip(rows, medians, strict=True)):
        # Beside the spread, which would strike it out.
        beside = (max(row["runs"]), place)
        axes.annotate(f"  {median:,.{0 if median >= 10 else 1}f}", beside, va="center", fontsize=8)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
