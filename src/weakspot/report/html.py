"""The page itself: findings in, one HTML document out that asks for nothing else."""

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
from weakspot.findings.record import Slice
from weakspot.report.classes import class_table, together
from weakspot.report.exhibits import Exhibits
from weakspot.report.folds import Folds
from weakspot.report.ids import groups, ids_of_groups
from weakspot.report.options import ReportOptions
from weakspot.report.points import MOST, points_of
from weakspot.report.sprites import sprites_of
from weakspot.report.tree import outline, tree_view
from weakspot.report.view import finding_views, near_miss_views, slice_views, weak_values

STYLES = ("base.css", "style.css", "classes.css", "map.css")
SCRIPTS = ("sort.js", "images.js", "ids.js", "search.js", "points.js", "map.js", "folds.js", "tree.js")
"""Of the page, in their order."""

_ROOM = 4_000_000  # characters; what always stands in the page comes to these
_MORE = 5  # times as much for examples="all"
_IMAGES, _MARKUP, _IDS = 0.62, 0.26, 0.12  # of the room
_MAP = 0.15  # of the room, at most; what it takes is not there for images
_SPRITES = 0.1  # of the room, for thumbnails of points, and what images leave
_MEMBERS = (
    0.005  # of the room in characters: members that are listed, each of which takes some thirty, compressed
)
_ELEMENTS = 6000  # of what is folded away, but stands in the markup
_DEFAULT = ReportOptions()


def render(findings: Findings, media: Media | None = None, options: ReportOptions = _DEFAULT) -> str:
    """The report of a run, as one HTML page.

    The page makes no request: styles, scripts and images are inside, and its Content-Security-Policy admits only
    them, by their hashes. Everything from the findings is escaped. A page of any run stays below 5 MB and 20 000
    elements: what is folded away is compressed once there is much of it, and what has no room is left out, and said
    to be. What is not compressed reads the same without the scripts.

    Args:
        findings: Everything that is said; nothing is computed here.
        media: Previews and Grad-CAMs; without them examples are listed by id and attributes.
        options: How much is shown; `members="all"` needs findings that were built with it.

    Returns:
        The HTML document.

    Raises:
        ValueError: If all members are asked for and the findings do not describe them.
    """
    room = _ROOM * (_MORE if options.examples == "all" else 1)
    folds = Folds(_ELEMENTS, int(_MARKUP * room))
    members = _all_members(findings, int(_MEMBERS * room)) if options.members == "all" else {}
    points = points_of(findings, int(_MAP * room), MOST * room // _ROOM) if options.map != "none" else None
    left = int(_IMAGES * room) - (len(points.data) if points else 0)
    media = media or Media()
    reserved = int(_SPRITES * room) if points and media.has_previews else 0
    exhibits = Exhibits(findings, media, left - reserved, list(members.values()))
    sprites = sprites_of(points, media, left - exhibits.thumbnails.spent) if points and reserved else None
    slices = slice_views(findings, exhibits, members)
    views = finding_views(findings, slices, exhibits, members)
    confirmed = [view for view in views if view.finding.confirmed]
    style = "".join(_file(name) for name in STYLES)
    scripts = [_file(name) for name in SCRIPTS]
    jinja = environment()
    ids = ids_of_groups(findings, int(_IDS * room))
    shared = {
        "findings": findings,
        "whole": findings.whole,
        "confirmed": confirmed,
        "others": [view for view in views if not view.finding.confirmed],
        "slices": slices,
        "alone": [view for view in slices if view.slice.finding is None],
        "tree": tree_view(findings, slices, exhibits) if findings.clusters else None,
        "outline": outline,
        "grad_cam": exhibits.media.has_cams,
        "misses": near_miss_views(findings, exhibits),
        "weak": weak_values(findings, views),
        "top_loss": max((view.finding.loss.inside for view in views if view.finding.loss), default=0.0),
        "verdicts": VERDICTS,
        "folds": folds,
        "roomier": options.roomier,
        "ids": ids,
        "left_out": exhibits.left_out,
        "points": points,
        "sprites": sprites,
    }
    main, images = exhibits.thumbnails.place(jinja.get_template("main.html.jinja").render(shared))
    return jinja.get_template("page.html.jinja").render(
        shared,
        main=Markup(main),
        images=Markup(images),
        folded=Markup(folds.table()),
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
    """Rows of the members of each finding and slice by anchor, in the order of their top examples; `most` in all."""
    known = {example.row: example for example in findings.examples}
    rows = findings.memberships.column("row").to_numpy()
    weights = findings.memberships.column("weight").to_numpy()
    if not np.isin(rows, list(known)).all():
        raise ValueError('these findings describe some members only; build them with members="all"')
    sign = 1 if findings.seeks == "better" else -1
    losses = np.array([sign * (known[row].loss or 0.0) for row in rows.tolist()])
    found = {}
    for group in groups(findings.memberships):
        part = slice(group.start, group.end)
        order = np.lexsort((losses[part], -weights[part]))
        found[group.anchor] = rows[part][order][: max(most, 0)].tolist()
        most -= len(found[group.anchor])
    return found


def verdict_of(one: Slice, seeks: str) -> str:
    """What is said of a slice in the table of all."""
    return VERDICTS[one.evidence.verdict] if one.finding is not None else f"no {seeks}"


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
    """Templates of this package."""
    jinja = escaping("weakspot.report")
    jinja.filters.update(
        share_of=numbers.share_of, signed=numbers.signed, times=numbers.times, verdict_of=verdict_of
    )
    jinja.globals.update(class_table=class_table, together=together)
    return jinja


def escaping(package: str) -> Environment:
    """The templates of a package, with numbers as the pages write them; everything put into them is escaped."""
    jinja = Environment(
        loader=PackageLoader(package),
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
        plain=numbers.plain,
    )
    return jinja
