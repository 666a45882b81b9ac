"""The page itself: findings in, one HTML document out that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weakspot.evaluation.confirmation import VERDICTS
from weakspot.findings import Findings, Media, numbers
from weakspot.report.classes import class_table, together
from weakspot.report.exhibits import Exhibits
from weakspot.report.thumbnails import Thumbnails
from weakspot.report.tree import tree_view
from weakspot.report.view import finding_views, near_miss_views, slice_views, weak_values


def render(findings: Findings, media: Media | None = None) -> str:
    """The report of a run, as one HTML page.

    The page makes no request: styles, script and images are inside, and its Content-Security-Policy admits only
    them, by their hashes. Everything from the findings is escaped. It reads the same without the script, which only
    sorts tables.

    Args:
        findings: Everything that is said; nothing is computed here.
        media: Previews and Grad-CAMs; without them examples are listed by id and attributes.

    Returns:
        The HTML document.
    """
    thumbnails = Thumbnails()
    exhibits = Exhibits(findings, media or Media(), thumbnails)
    slices = slice_views(findings, exhibits)
    views = finding_views(findings, slices, exhibits)
    tree = tree_view(findings, slices, exhibits) if findings.clusters else None
    package = files("weakspot.report")
    style = "".join(
        package.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "classes.css")
    )
    script = package.joinpath("sort.js").read_text(encoding="utf-8")
    misses = near_miss_views(findings, exhibits)
    images = thumbnails.css()
    confirmed = [view for view in views if view.finding.confirmed]
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            policy=policy_of([style, images], [script]),
            style=Markup(style),
            images=Markup(images),
            script=Markup(script),
            findings=findings,
            whole=findings.whole,
            confirmed=confirmed,
            others=[view for view in views if not view.finding.confirmed],
            slices=slices,
            alone=[view for view in slices if view.slice.finding is None],
            tree=tree,
            grad_cam=exhibits.media.has_cams,
            misses=misses,
            weak=weak_values(findings, views),
            top_loss=max((view.finding.loss.inside for view in views if view.finding.loss), default=0.0),
            verdicts=VERDICTS,
            created=datetime.fromisoformat(findings.created),
        )
    )


def policy_of(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """A Content-Security-Policy that admits these styles and scripts, inlined images, and nothing else."""

    def hashes(texts: Sequence[str]) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; img-src data:; style-src {hashes(styles)}; script-src {hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )


def environment() -> Environment:
    """Templates of this package; everything put into them is escaped."""
    jinja = Environment(
        loader=PackageLoader("weakspot.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(
        number=numbers.count,
        percent=numbers.percent,
        tenth=numbers.tenth,
        share_of=numbers.share_of,
        decimal=numbers.decimal,
        signed=numbers.signed,
        times=numbers.times,
        plain=numbers.plain,
        probability=numbers.probability,
    )
    jinja.globals.update(class_table=class_table, together=together)
    return jinja
