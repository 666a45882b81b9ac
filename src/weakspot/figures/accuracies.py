"""Draws how well the model does inside each finding, with its interval, and outside."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weakspot.figures.style import (
    BLUE,
    DARK_GREY,
    LIGHT_GREY,
    MID_GREY,
    PERCENT,
    SMALL,
    VERMILION,
    column_figure,
    style,
)
from weakspot.figures.text_fitting import wrap_lines
from weakspot.findings import VERDICTS, Contrast, Finding, Findings, numbers

_NAME = 1.2  # inches that the name of a finding may take


@style()
def accuracies(findings: Findings, most: int = 12) -> Figure:
    """Draw the accuracy inside every finding with its 95 % interval, and outside; for ratings and numbers, the error.

    Confirmed findings come first. Findings are measured on held-out examples if there are any, as in
    `Finding.accuracy`.

    Args:
        findings: The findings of a run.
        most: The maximum number of findings; among confirmed and others, those that explain most errors come first.

    Returns:
        The figure, a line for each finding.

    Raises:
        ValueError: If there are no findings.
    """
    order = sorted(findings.findings, key=lambda finding: not finding.confirmed)[:most]
    if not order:
        raise ValueError("there are no findings to draw: no slice is worse than the rest")
    measure, label = _measure(findings)
    names = [_label(finding) for finding in order]
    figure = column_figure(0.75 + sum(0.09 + 0.11 * len(name.splitlines()) for name in names))
    axes = figure.add_subplot()
    for y, finding in enumerate(order):
        contrast: Contrast | None = getattr(finding, measure)
        if contrast is not None:
            _draw_contrast(axes, y, finding, contrast)
    whole = getattr(findings.whole, measure)
    if whole is not None:
        axes.axvline(whole, color=MID_GREY, linewidth=0.6, linestyle=":", zorder=0)
    axes.set(yticks=range(len(order)), yticklabels=names, xlabel=label)
    axes.set(ylim=(len(order) - 0.5, -0.5), ylabel="Finding")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=LIGHT_GREY, linewidth=0.4)
    axes.spines["left"].set_visible(False)
    if measure == "accuracy":
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PERCENT)
    _write_sizes(axes, order, findings.whole.counted)
    if len(order) < len(findings.findings):
        axes.set_title(f"{len(order)} of {len(findings.findings)} findings", fontsize=SMALL, color=MID_GREY)
    _legend(figure, order, findings.confirmation.tested > 0)
    return figure


def _measure(findings: Findings) -> tuple[str, str]:
    """Return the field of a finding that is drawn, and the label of its axis."""
    where = "held-out examples" if findings.confirmation.tested else "all examples"
    if any(finding.accuracy is not None for finding in findings.findings):
        return "accuracy", f"Accuracy on {where}"
    if any(finding.error is not None for finding in findings.findings):
        return "error", f"{findings.whole.measure.upper()} on {where}"
    return "loss", f"Mean loss on {where}"


def _draw_contrast(axes: Axes, y: int, finding: Finding, contrast: Contrast) -> None:
    """Draw the interval and the mean inside a finding, and the mean outside."""
    colour = VERMILION if finding.confirmed else MID_GREY
    if contrast.interval is not None:
        axes.plot(contrast.interval, [y, y], color=colour, linewidth=1.4, solid_capstyle="butt")
    filled = colour if finding.confirmed else "white"
    axes.plot(contrast.inside, y, "o", color=colour, markerfacecolor=filled, markersize=4.5, clip_on=False)
    if contrast.outside is not None:
        axes.plot(
            contrast.outside, y, "D", color=BLUE, markerfacecolor="white", markersize=3.5, clip_on=False
        )


def _label(finding: Finding) -> str:
    """Return the name of a finding with its verdict and p-value."""
    p = "" if finding.p_corrected is None else f", p {numbers.probability(finding.p_corrected)}"
    name = "\n".join(wrap_lines(finding.subject, _NAME, 6, 2))
    return f"{name}\n{VERDICTS[finding.verdict]}{p}"


def _write_sizes(axes: Axes, order: list[Finding], counted: str) -> None:
    """Write the size of each finding, and its share of all errors, to the right of its line."""
    place = axes.get_yaxis_transform()
    heading = f"examples,\n% of {counted}"
    axes.text(1.04, -0.5, heading, transform=place, fontsize=SMALL, va="bottom", color=MID_GREY)
    for y, finding in enumerate(order):
        size = f"{finding.size_text}\n{numbers.percent(finding.errors_explained)}"
        axes.text(1.04, y, size, transform=place, fontsize=SMALL, va="center", color=DARK_GREY)


def _legend(figure: Figure, order: list[Finding], tested: bool) -> None:
    unconfirmed = VERDICTS["not_confirmed" if tested else "not_tested"]
    signs = {
        "inside, 95 % interval": Line2D([], [], color=VERMILION, marker="o", markersize=4),
        unconfirmed: Line2D([], [], color=MID_GREY, marker="o", markerfacecolor="white", markersize=4),
        "outside": Line2D([], [], color=BLUE, marker="D", markerfacecolor="white", markersize=3.5, ls=""),
        "all examples": Line2D([], [], color=MID_GREY, linestyle=":", linewidth=0.8),
    }
    if not any(finding.confirmed for finding in order):
        del signs["inside, 95 % interval"]
        signs = {name.replace("not", "inside, not"): sign for name, sign in signs.items()}
    elif all(finding.confirmed for finding in order):
        del signs[unconfirmed]
    handles, names = list(signs.values()), list(signs)
    figure.legend(handles, names, loc="outside lower center", ncols=4, handlelength=1.3, columnspacing=0.9)
