"""Draws the bench's plot, in the peers' environment, where matplotlib is. What to draw comes as JSON on stdin."""

from __future__ import annotations

import json
import statistics
import sys

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "sallyport"  # equal figures make an equal file

from matplotlib import pyplot as plt  # noqa: E402


def main() -> None:
    given = json.load(sys.stdin)
    rows = given["rows"][::-1]
    medians = [statistics.median(row["runs"]) for row in rows]
    spread = [
        [median - min(row["runs"]) for row, median in zip(rows, medians, strict=True)],
        [max(row["runs"]) - median for row, median in zip(rows, medians, strict=True)],
    ]
    figure, axes = plt.subplots(figsize=(9, 4.2))
    colours = ["#1f5f8b" if row["ours"] else "#b0b7bd" for row in rows]
    axes.barh([row["title"] for row in rows], medians, xerr=spread, color=colours, ecolor="#444444", capsize=2)
    axes.set_xscale("log")
    axes.set_xlabel(f"{given['axis']} (logarithmic); median, least and most")
    for place, median in enumerate(medians):
        axes.annotate(
            f"{median:,.{0 if median >= 10 else 1}f} ",
            (median, place),
            ha="right",
            va="center",
            color="black",
            fontsize=8,
        )
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(given["file"], metadata={"Date": None})


if __name__ == "__main__":
    main()
