"""The tables as one figure: how often each method succeeds, a panel for each kind of predictions and embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from planted.pages import mean_and_interval

CEILING = "ceiling"  # not a method, but what the embedding allows: a line across its panel
COLOURS = {"scan": "#c2410c", "domino": "#1d4ed8"}
REST = "#57534e"


def success_plot(panels: dict[str, dict[str, list[float]]], title: str, file: Path) -> None:
    """Draw a dot with its interval for each method, panels side by side, the most successful methods on top.

    Args:
        panels: The successes of each method by panel title, one number for each setting.
        title: The title of the figure.
        file: The file to write; its ending decides the format (.svg, .png, .pdf).
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "weakspot", "font.size": 8})
    first: dict[str, Any] = next(iter(panels.values()))
    overall = {name: np.mean([np.mean(panel[name]) for panel in panels.values()]) for name in first}
    names = sorted((name for name in overall if name != CEILING), key=lambda name: overall[name])
    figure, axes = plt.subplots(
        1,
        len(panels),
        sharey=True,
        figsize=(2.1 * len(panels) + 2, 0.19 * len(names) + 1.1),
        layout="constrained",
    )
    for axis, (shown, panel) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for y, name in enumerate(names):
            mean, low, high = mean_and_interval(np.array(panel[name]))
            colour = COLOURS.get(name, REST)
            axis.plot([low, high], [y, y], color=colour, linewidth=1.2, alpha=0.7)
            axis.plot(mean, y, "o", color=colour, markersize=4)
        if CEILING in panel:
            axis.axvline(float(np.mean(panel[CEILING])), color="black", linestyle=":", linewidth=1)
        axis.set(xlim=(0, 1), title=shown, xlabel="success", yticks=range(len(names)), yticklabels=names)
        axis.title.set_fontsize(8)
        axis.grid(axis="x", color="#e7e5e4", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
        axis.tick_params(axis="y", length=0)
    figure.suptitle(title, fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, facecolor="white")
    plt.close(figure)
