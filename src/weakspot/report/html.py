"""Renders the report: one HTML document that makes no request."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weakspot.findings import VERDICTS, Findings, Media, numbers
from weakspot.findings.entries import Slice
from weakspot.legible import LONGEST_TEXT, shortened
from weakspot.report.classes import class_table, co_occurrence
from weakspot.report.example_views import ExampleViews
from weakspot.report.finding_views import finding_views, near_miss_views, slice_views, weak_values
from weakspot.report.folds import FoldedParts
from weakspot.report.member_csv import member_csvs, member_groups
from weakspot.report.options import ReportOptions
from weakspot.report.points import MOST, points_of
from weakspot.report.sprites import sprites_of
from weakspot.report.tree import outline, tree_view

STYLES = ("base.css", "style.css", "classes.css", "map.css")
SCRIPTS = ("sort.js", "images.js", "ids.js", "search.js", "points.js", "map.js", "folds.js", "tree.js")
"""The scripts of the page, in their order."""

_ROOM = 4_000_000  # characters, in addition to what is always in the page
_MORE = 5  # times as many for examples="all"
_IMAGES, _MARKUP, _IDS = 0.62, 0.26, 0.12  # shares of the room
_MAP = 0.15  # share of the room, at most, which is taken from that of images
_SPRITES = 0.1  # share of the room for thumbnails of points, which also get what images leave
_MEMBERS = 0.005  # members that are listed, for each character of the room: one takes some thirty, compressed
_ELEMENTS = 6000  # of folded parts that stay in the markup
_DEFAULT = ReportOptions()


def render(findings: Findings, media: Media | None = None, options: ReportOptions = _DEFAULT) -> str:
    """Render the report of a run as one HTML page.

    The page makes no request: styles, scripts and images are inside, and its Content-Security-Policy admits only
    them, by their hashes. Everything from the findings is escaped. A page of any run stays below 5 MB and 20 000
    elements: folded parts are compressed once there are many, and the page says what was left out for lack of room.
    What is not compressed reads the same without the scripts.

    Args:
        findings: The findings; nothing is computed here.
        media: Previews and Grad-CAMs; without them examples are listed by id and attributes.
        options: How much is shown; `members="all"` needs findings that were built with it.

    Returns:
        The HTML document.

    Raises:
        ValueError: If all members are requested and the findings do not describe them.
    """
    room = _ROOM * (_MORE if options.examples == "all" else 1)
    folded = FoldedParts(_ELEMENTS, int(_MARKUP * room))
    members = _all_members(findings, int(_MEMBERS * room)) if options.members == "all" else {}
    points = points_of(findings, int(_MAP * room), MOST * room // _ROOM) if options.map != "none" else None
    room_for_images = int(_IMAGES * room) - (len(points.data) if points else 0)
    media = media or Media()
    reserved = int(_SPRITES * room) if points and media.has_previews else 0
    examples = ExampleViews(findings, media, room_for_images - reserved, list(members.values()))
    sprites = (
        sprites_of(points, media, room_for_images - examples.thumbnails.spent)
        if points and reserved
        else None
    )
    slices = slice_views(findings, examples, members)
    views = finding_views(findings, slices, examples, members)
    confirmed = [view for view in views if view.finding.confirmed]
    style = "".join(_file(name) for name in STYLES)
    scripts = [_file(name) for name in SCRIPTS]
    jinja = environment()
    ids = member_csvs(findings, int(_IDS * room))
    shared = {
        "findings": findings,
        "whole": findings.whole,
        "confirmed": confirmed,
        "others": [view for view in views if not view.finding.confirmed],
        "slices": slices,
        "not_worse": [view for view in slices if view.slice.finding is None],
        "tree": tree_view(findings, slices, examples) if findings.clusters else None,
        "outline": outline,
        "grad_cam": examples.media.has_cams,
        "misses": near_miss_views(findings, examples),
        "weak": weak_values(findings, views),
        "measure_name": findings.whole.measure.upper() if findings.whole.error is not None else "Accuracy",
        "top_loss": max((view.finding.loss.inside for view in views if view.finding.loss), default=0.0),
        "verdicts": VERDICTS,
        "folded": folded,
        "more_room_hint": options.more_room_hint,
        "ids": ids,
        "left_out": examples.left_out,
        "points": points,
        "sprites": sprites,
    }
    main, images = examples.thumbnails.place(jinja.get_template("main.html.jinja").render(shared))
    return jinja.get_template("page.html.jinja").render(
        shared,
        main=Markup(main),
        images=Markup(images),
        folded_parts=Markup(folded.table()),
        members=Markup(json.dumps(ids).replace("<", "\\u003c")),
        points_data=Markup(points.data if points else ""),
        sprites_data=Markup(sprites.data if sprites else ""),
        policy=policy_of([style], scripts),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        created=datetime.fromisoformat(findings.created),
    )


def _file(name: str) -> str:
    return files("weakspot.report").joinpath(name).read_text(encoding="utf-8")


def _all_members(findings: Findings, most: int) -> dict[str, list[int]]:
    """Return rows of members of each finding and slice by anchor, in the order of top examples, `most` rows in all."""
    known = {example.row: example for example in findings.examples}
    rows = findings.memberships.column("row").to_numpy()
    weights = findings.memberships.column("weight").to_numpy()
    if not np.isin(rows, list(known)).all():
        raise ValueError('these findings describe some members only; build them with members="all"')
    sign = 1 if findings.seeks == "better" else -1
    losses = np.array([sign * (known[row].loss or 0.0) for row in rows.tolist()])
    found = {}
    for group in member_groups(findings.memberships):
        part = slice(group.start, group.end)
        order = np.lexsort((losses[part], -weights[part]))
        found[group.anchor] = rows[part][order][: max(most, 0)].tolist()
        most -= len(found[group.anchor])
    return found


def verdict_of(one: Slice, seeks: str) -> str:
    """Return the verdict of a slice in the table of all slices."""
    return VERDICTS[one.evidence.verdict] if one.finding is not None else f"no {seeks}"


def policy_of(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Return a Content-Security-Policy that admits these styles and scripts, inlined images, and nothing else."""

    def hashes(texts: Sequence[str]) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; img-src data:; style-src {hashes(styles)}; script-src {hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )


def environment() -> Environment:
    """Return the templates of this package, with their filters and functions."""
    jinja = escaping("weakspot.report")
    jinja.filters.update(
        share_of=numbers.share_of,
        signed=numbers.signed,
        format_lift=numbers.format_lift,
        verdict_of=verdict_of,
    )
    jinja.globals.update(class_table=class_table, co_occurrence=co_occurrence)
    return jinja


def escaping(package: str) -> Environment:
    """Return the templates of a package, with the filters that format numbers; everything put into them is escaped."""
    jinja = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(
        number=numbers.count,
        examples=numbers.examples,
        percent=numbers.percent,
        percent_to_tenth=numbers.percent_to_tenth,
        decimal=numbers.decimal,
        probability=numbers.probability,
        format_value=numbers.format_value,
        shortened=shortened,
    )
    jinja.globals["longest_text"] = LONGEST_TEXT
    return jinja
