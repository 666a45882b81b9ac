"""The explorer's own pages: templates of this package, into which nothing is put unescaped."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from weakspot.findings import numbers


def page(name: str, status: int = 200, **content: Any) -> HTMLResponse:
    """A page.

    Args:
        name: Of its template, without `.html.jinja`.
        status: Of the answer.
        **content: What the template shows.
    """
    return HTMLResponse(_TEMPLATES.get_template(f"{name}.html.jinja").render(content), status)


def refusal(sentence: str, status: int = 400) -> HTMLResponse:
    """A page that says what is wrong, and what to do."""
    return page("refusal", status, sentence=sentence)


def _environment() -> Environment:
    jinja = Environment(
        loader=PackageLoader("weakspot.app"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(
        number=numbers.count,
        percent=numbers.percent,
        tenth=numbers.tenth,
        decimal=numbers.decimal,
        probability=numbers.probability,
        plain="{:.6g}".format,
    )
    return jinja


_TEMPLATES = _environment()
