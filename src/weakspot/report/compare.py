"""The page of a comparison: one HTML document that makes no request."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files

from markupsafe import Markup

from weakspot.findings import VERDICTS
from weakspot.findings.comparison import STATUSES, Comparison, Status
from weakspot.report.html import environment, policy_of

_SECTIONS: dict[Status, tuple[str, str]] = {
    "new": (
        "New",
        "Found and confirmed in the later run, but not confirmed in the earlier one, where the model did better on "
        "these examples, beyond chance, and less than half of the gap to others of the same labels was there.",
    ),
    "persisting": ("Persisting", "Confirmed in both runs."),
    "fixed": (
        "Fixed",
        "Found and confirmed in the earlier run, but not confirmed in the later one, where the model does better on "
        "these examples, beyond chance, and less than half of the gap to others of the same labels is left.",
    ),
    "unclear": (
        "Unclear",
        "Not confirmed in the run that found them, or not confirmed in the other run without being shown to be gone.",
    ),
}


def render_comparison(comparison: Comparison) -> str:
    """Render the comparison of two runs as one HTML page.

    Everything in the page is escaped; it makes no request, and reads the same without its script.

    Args:
        comparison: The comparison; nothing is computed here.

    Returns:
        The HTML document.
    """
    package = files("weakspot.report")
    names = ("base.css", "style.css", "sort.js")
    *styles, script = (package.joinpath(name).read_text(encoding="utf-8") for name in names)
    style = "".join(styles)
    performances = [one for slice_ in comparison.slices for one in (slice_.before, slice_.after) if one]
    values = [one.inside.inside for one in performances]
    abbreviated = comparison.measure in ("rmse", "mae")
    return (
        environment()
        .get_template("compare.html.jinja")
        .render(
            policy=policy_of([style], [script]),
            style=Markup(style),
            script=Markup(script),
            comparison=comparison,
            measure=comparison.measure.upper()
            if abbreviated
            else {"loss": "mean loss"}.get(comparison.measure, comparison.measure),
            short=abbreviated,
            most=1 if comparison.higher_is_better else max(values, default=1.0),
            names={(one.found, one.number): one.name for one in comparison.slices},
            sections=[(status, *_SECTIONS[status]) for status in STATUSES],
            verdicts=VERDICTS,
            created=datetime.fromisoformat(comparison.created),
        )
    )
