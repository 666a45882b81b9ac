"""Shared by the report's tests: a planted failure to report, and ways to read a page."""

import base64
import gzip
import json
import re
import shutil
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from weakspot.findings import Findings, Media, numbers
from weakspot.predictions import Predictions
from weakspot.report import render
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")


def planted(n=400, k=3, seed=0):
    """A model that fails on red images of large digits, and slices that lie mostly there."""
    rng = np.random.default_rng(seed)
    digit = rng.integers(0, 10, n)
    colour = rng.choice(["red", "green"], n)
    label = (digit >= 5).astype(int)
    group = np.array([f"{c}_{'≥5' if y else '<5'}" for c, y in zip(colour, label, strict=True)])
    right = rng.random(n) < np.where(group == "red_≥5", 0.1, 0.9)
    losses = np.where(right, rng.exponential(0.1, n), 1 + rng.exponential(2, n))
    predictions = Predictions.from_arrays(
        rng.normal(size=(n, 8)) + 4.0 * (group == "red_≥5")[:, None],
        losses=losses,
        labels=label,
        predictions=np.where(right, label, 1 - label),
        ids=[f"digit-{i:04}" for i in range(n)],
        attributes=pa.table({"digit": digit, "colour": colour, "group": group}),
        task=Classification(("<5", "≥5")),
        manifest={"dataset": {"name": "colored_digits", "split": "test"}, "model": "small_cnn"},
    )
    weights = np.zeros((k, n))
    for j in range(k):
        failing = rng.permutation(np.flatnonzero((group == "red_≥5") & ~right))[:26]
        weights[j, failing] = rng.uniform(0.2, 1, len(failing))
        weights[j, rng.permutation(np.flatnonzero(group == "green_≥5"))[:2]] = 0.3
    steps = np.arange(2000)
    histories = [
        {"objective": -np.exp(-steps / 300), "size": 20 + 380 * np.exp(-steps / 200)} for _ in range(k)
    ]
    slices = Slices(
        "spotlight",
        predictions.ids,
        weights,
        describe(weights, predictions),
        histories,
        provenance={"settings": {"min_size": 0.02, "n_slices": k}},
    )
    return predictions, slices


def report_of(predictions, slices, preview=None, cams=None, held=True, **settings):
    """The report page of slices, tested on every other example (or not tested)."""
    rows = np.arange(len(predictions)) % 2 == 0 if held else None
    return render(Findings.build(predictions, slices, confirm=rows, **settings), Media(preview, cams))


def picture(row):
    rng = np.random.default_rng(row)
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[..., row % 2] = 128
    pixels[8:24, 8:24] = rng.integers(0, 255, (16, 16, 1))
    return Image.fromarray(pixels)


class Reader(HTMLParser):
    """The page's text by section, its elements and their attributes."""

    APART = ("td", "th", "dt", "dd", "div", "p", "li")  # shown apart, with or without space between the tags
    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self._open = [], [], []
        self.feed(page)
        assert self._open == [], f"left open: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in self.APART:
            self.text.append(" ")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", "".join(self.text)).replace(numbers.THIN, " ")


def read(page):
    return Reader(page).words


def unfolded(page):
    """The page with its compressed parts put in place, as its script does."""
    table = json.loads(re.search(r'<script type="application/json" id="folded">(.*?)</script>', page)[1])
    left_out = '<p class="note">Left out to keep this page small.</p>'
    parts = [
        left_out if part is None else gzip.decompress(base64.b64decode(part)).decode()
        for part in table["parts"]
    ]
    folded = re.compile(r'(<details[^>]*?)\s+data-part="(\d+)"(.*?</summary>)</details>', re.DOTALL)

    def put_in(match):
        inside = folded.sub(put_in, parts[int(match[2])])
        return f"{match[1]}{match[3]}{inside}</details>"

    return folded.sub(put_in, page)


def images_of(page):
    """Every image shown: its alternative text, the classes of its frame, and the file in base64."""
    table = json.loads(re.search(r'<script type="application/json" id="images">(.*?)</script>', page)[1])
    shown = re.findall(
        r'<button type="button" class="([^"]*)"><img data-image="(\d+)"(?: src="data:image/webp;base64,([^"]*)")?'
        r'\s+width="\d+"\s+height="\d+"\s+alt="([^"]*)">',
        page,
    )
    known = table | {number: data for _, number, data, _ in shown if data}
    return [(unescape(alt), classes.split(), known[number]) for classes, number, _, alt in shown]


@contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


def opened(browser, tmp_path, page, width=1200, **options):
    """The page in a fresh tab, with its requests and its console messages."""
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
    requests, complaints = [], []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(path.as_uri())
    tab.wait_for_load_state("networkidle")
    return tab, [url for url in requests if not url.startswith("data:")], complaints
