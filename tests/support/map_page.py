"""The map of a report: the data in its page, and its points in a Chromium window."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa

MARGIN = 14  # px of the canvas around the points


def unpacked(data):
    """The map's data in the page, read as map.js reads them."""
    packed = json.loads(data)

    def planes(part, kind):
        raw = np.frombuffer(gzip.decompress(base64.b64decode(part)), np.uint8)
        return np.ascontiguousarray(raw.reshape(np.dtype(kind).itemsize, -1).T).view(kind).ravel()

    def text(part):
        return json.loads(gzip.decompress(base64.b64decode(part)))

    header = text(packed["header"])
    columns = [planes(part, "u1") for part in packed["columns"]]
    steps, members, at = planes(packed["members"], "<u4"), {}, 0
    for number, many in header["findings"]:
        members[number] = np.cumsum(steps[at : at + many])
        at += many
    weight = None if packed["weight"] is None else planes(packed["weight"], "<f4")
    return {
        "ids": text(packed["ids"]),
        "at": np.column_stack([planes(packed["x"], "<u2"), planes(packed["y"], "<u2")]),
        "level": None if packed["loss"] is None else planes(packed["loss"], "<u2"),
        "weight": np.ones(header["n"]) if weight is None else weight,
        "columns": {
            (one["role"], one["name"]): np.array(one["values"], dtype=object)[codes]
            for one, codes in zip(header["columns"], columns, strict=True)
        },
        "members": members,
        "loss": header["loss"],
    }


def in_page(page):
    return unpacked(re.search(r'<script type="application/json" id="points">(.*?)</script>', page)[1])


def large(findings, n, attributes=20, seed=0):
    """Findings whose map has many examples with random ids; the first thousand belong to a finding."""
    rng = np.random.default_rng(seed)
    category = pa.dictionary(pa.int32(), pa.string())
    columns = {
        "row": pa.array(np.arange(n)),
        "id": pa.array([f"{i:x}" for i in rng.integers(1 << 40, size=n)]),
        "x": pa.array(rng.integers(0, 65_536, n).astype(np.uint16)),
        "y": pa.array(rng.integers(0, 65_536, n).astype(np.uint16)),
        "correct": pa.array(np.arange(n) >= 1000),
        "loss": pa.array(rng.exponential(size=n), pa.float32()),
    }
    for i in range(attributes):
        columns[f"attribute:a{i}"] = pa.array(rng.choice(["yes", "no", "so"], n)).cast(category)
    rows = findings.memberships.slice(0, 1000)
    members = pa.table(
        {
            "group": ["finding"] * 1000,
            "number": np.ones(1000, np.int64),
            "row": np.arange(1000),
            "id": [str(i) for i in range(1000)],
            "weight": np.ones(1000),
            "searched": np.ones(1000, bool),
        },
        schema=rows.schema,
    )
    return replace(findings, map=pa.table(columns), memberships=members)


def placed(tab, at):
    """Where points lie in the window when the whole map fits its canvas, from their rounded coordinates."""
    box = tab.locator(".map-board > canvas").bounding_box()
    widest, highest = at.max(axis=0)
    scale = min((box["width"] - 2 * MARGIN) / widest, (box["height"] - 2 * MARGIN) / highest)
    left = box["x"] + (box["width"] - widest * scale) / 2
    bottom = box["y"] + (box["height"] + highest * scale) / 2
    return np.column_stack([left + at[:, 0] * scale, bottom - at[:, 1] * scale])


def to_map(tab):
    tab.evaluate("document.getElementById('map').scrollIntoView()")
    tab.locator("#map .map-legend > *").first.wait_for()
    tab.wait_for_timeout(100)


def drag(tab, corners):
    tab.mouse.move(*corners[0])
    tab.mouse.down()
    for corner in corners[1:]:
        tab.mouse.move(*corner)
    tab.mouse.up()
    tab.locator(".map-summary h3").wait_for()


def saved(tab):
    with tab.expect_download() as download:
        tab.locator(".map-save").click()
    assert download.value.suggested_filename == "selection.csv"
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        return [row["id"] for row in csv.DictReader(file)]
