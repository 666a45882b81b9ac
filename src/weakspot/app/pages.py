"""Renders the explorer's own pages from templates, which escape everything that is put into them."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from starlette.responses import HTMLResponse

from weakspot.legible import as_utf8
from weakspot.report.html import environment, escaping
from weakspot.report.points import Points

_REPORT = environment()
_TEMPLATES = escaping("weakspot.app")
_TEMPLATES.filters["as_input"] = "{:.6g}".format  # writes a number for an <input>


def render_page(name: str, status: int = 200, **content: Any) -> HTMLResponse:
    """Render a page.

    Args:
        name: The template's name, without `.html.jinja`.
        status: The answer's status.
        **content: The template's variables.
    """
    written = _TEMPLATES.get_template(f"{name}.html.jinja").render(content)
    return HTMLResponse(as_utf8(written), status)  # texts and file names may hold any characters


def map_section(points: Points) -> Markup:
    """Render the report's map for a page that links to the map's scripts and style sheet."""
    return Markup(_REPORT.get_template("map.html.jinja").render(points=points, sprites=None))


def render_refusal(sentence: str, status: int = 400) -> HTMLResponse:
    """Render a page that says what is wrong and what to do."""
    return render_page("refusal", status, sentence=sentence)
