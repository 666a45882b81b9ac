"""The explorer's own pages: templates of this package, into which nothing is put unescaped."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from starlette.responses import HTMLResponse

from weakspot.legible import as_utf8
from weakspot.report.html import environment, escaping
from weakspot.report.points import Points

_REPORT = environment()
_TEMPLATES = escaping("weakspot.app")
_TEMPLATES.filters["as_input"] = "{:.6g}".format  # a number as an <input> takes it


def page(name: str, status: int = 200, **content: Any) -> HTMLResponse:
    """A page.

    Args:
        name: Of its template, without `.html.jinja`.
        status: Of the answer.
        **content: What the template shows.
    """
    written = _TEMPLATES.get_template(f"{name}.html.jinja").render(content)
    return HTMLResponse(as_utf8(written), status)  # of anyone's texts and names of files


def map_section(points: Points) -> Markup:
    """The report's map, for a page that serves its scripts and style beside it."""
    return Markup(_REPORT.get_template("map.html.jinja").render(points=points, sprites=None))


def refusal(sentence: str, status: int = 400) -> HTMLResponse:
    """A page that says what is wrong, and what to do."""
    return page("refusal", status, sentence=sentence)
