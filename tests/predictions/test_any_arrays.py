"""Arbitrary arrays are recorded unchanged, or refused in one sentence."""

from __future__ import annotations

import csv
import tempfile
from io import StringIO
from pathlib import Path
from traceback import walk_tb
from typing import Any
from unicodedata import category

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from paths import ROOT
from weakspot.delimited import csv_text, formula_free
from weakspot.findings import Findings
from weakspot.legible import printable
from weakspot.methods import find, words
from weakspot.predictions import Predictions
from weakspot.report.html import render
from weakspot.slices import Slices

FEW = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
"""Always the same cases, so that no run of the tests differs from another; more `max_examples` try others, too."""

NUMBERS = st.floats(width=32)  # NaN, infinities, zeros of both signs and the smallest numbers among them
TEXTS = st.text(max_size=6)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments for `Predictions.from_arrays`, in most cases of equal lengths."""
    n, d, c = draw(st.integers(0, 6)), draw(st.integers(0, 4)), draw(st.integers(1, 3))
    m = draw(st.sampled_from([n, n, n, n + 1]))

    def column(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.none() | st.lists(values, min_size=m, max_size=m)

    given_arrays = {
        "embeddings": draw(arrays(draw(st.sampled_from(["f2", "f4", "f8", "i4"])), (n, d))),
        "outputs": draw(st.none() | arrays(np.float32, (m, c), elements=NUMBERS)),
        "labels": draw(column(st.integers(-1, 3)) | column(TEXTS) | column(NUMBERS) | column(st.booleans())),
        "losses": draw(column(NUMBERS)),
        "correct": draw(column(st.booleans()) | column(st.integers(0, 2))),
        "counts": draw(column(st.integers(-1, 3)) | column(NUMBERS)),
        "ids": draw(column(TEXTS) | column(st.integers())),
        "attributes": draw(
            st.none()
            | st.dictionaries(
                TEXTS, st.lists(st.none() | TEXTS | NUMBERS | st.booleans(), min_size=m, max_size=m)
            )
        ),
    }
    return {name: value for name, value in given_arrays.items() if value is not None}


def assert_refused(error: Exception) -> None:
    """Check that this project raised the error, in one sentence, not a library that failed on a value."""
    said = str(error)
    assert said.strip()
    assert len(said.splitlines()) == 1, said
    (*_, last) = walk_tb(error.__traceback__)
    assert Path(last[0].f_code.co_filename).is_relative_to(ROOT / "src"), f"{last[0].f_code}: {said}"


@FEW
@given(arguments())
def test_arrays_are_recorded_or_refused(given_arrays: dict[str, Any]):
    try:
        p = Predictions.from_arrays(**given_arrays)
    except (ValueError, TypeError) as error:
        assert_refused(error)
        return
    for name in ("embeddings", "losses", "correct", "counts"):
        if name in given_arrays:
            recorded = np.asarray(getattr(p, name))
            assert_array_equal(recorded, np.asarray(given_arrays[name]).astype(recorded.dtype), err_msg=name)
    if "ids" in given_arrays:
        assert p.ids.tolist() == [str(one) for one in given_arrays["ids"]]
    if p.task is not None and "labels" in given_arrays and len(p):
        texts = {str(label) for label in given_arrays["labels"] if isinstance(label, str)}
        assert texts <= set(p.task.classes)
    with tempfile.TemporaryDirectory() as folder:
        loaded = Predictions.load(p.save(Path(folder) / "predictions"))
        for name in ("ids", "embeddings", "outputs", "labels", "losses", "correct", "counts", "predictions"):
            before, after = getattr(p, name), getattr(loaded, name)
            assert (before is None) == (after is None), name
            if before is not None:
                assert_array_equal(np.asarray(after), np.asarray(before), err_msg=name)
        assert loaded.attributes.equals(p.attributes)
        assert loaded.task == p.task


@FEW
@given(arguments(), st.sampled_from(words()))
def test_recorded_arrays_can_be_searched_or_are_refused(given_arrays: dict[str, Any], word: str):
    try:
        p = Predictions.from_arrays(**given_arrays)
        slices = find(word)().fit(p).slices_
    except (ValueError, TypeError) as error:
        assert_refused(error)
        return
    assert slices.weights.shape[1] == len(p)
    with tempfile.TemporaryDirectory() as folder:
        assert Slices.load(slices.save(Path(folder) / "slices")).equals(slices)


@st.composite
def failing_halves(draw: st.DrawFn) -> dict[str, Any]:
    """Eighty examples in two halves, of which the model fails on one, with odd values scattered among them."""
    n = 80
    half = np.arange(n) % 2
    x = (
        np.array(draw(st.lists(NUMBERS.filter(lambda v: abs(v) < 9), min_size=n, max_size=n)))[:, None]
        + 9 * half[:, None]
    )
    odd = st.sampled_from([0.0, -0.0, 1e-30, 1e13, -1e13, 1e-300])
    for row, value in draw(st.dictionaries(st.integers(0, n - 1), odd, max_size=5)).items():
        x[row] = value
    names = draw(st.lists(TEXTS, min_size=2, max_size=3, unique=True))
    wrong = (half == 0) & np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    values = draw(st.lists(st.none() | TEXTS | NUMBERS | st.integers(), min_size=1, max_size=4))
    prefix = draw(TEXTS)
    return {
        "embeddings": x.astype(draw(st.sampled_from(["f4", "f8"]))),
        "labels": [names[i % len(names)] for i in range(n)],
        "predictions": [names[(i + wrong[i]) % len(names)] for i in range(n)],
        "losses": draw(st.sampled_from([None, wrong * 1.0, wrong * (1.0 + np.arange(n) % 7)])),
        "ids": [f"{prefix}{i}" for i in range(n)],
        "attributes": {draw(TEXTS): [values[i % len(values)] for i in range(n)]},
        "counts": draw(st.sampled_from([None, 1.0 + np.arange(n) % 3])),
    }


@FEW
@given(failing_halves(), st.sampled_from(["scan", "spotlight", "udis", "kmeans"]), st.booleans())
def test_findings_can_be_reported(given_arrays: dict[str, Any], word: str, tested: bool):
    """As a page, and as a file that is read back."""
    held_out = np.arange(80) % 4 > 1
    try:
        p = Predictions.from_arrays(**given_arrays)
        searched = p.take(~held_out) if tested else p
        found = find(word)().fit(searched).slices_
    except (ValueError, TypeError) as error:
        assert_refused(error)
        return
    findings = Findings.build(searched, found, confirm=p.take(held_out) if tested else None)
    assert render(findings).startswith("<!doctype html>")
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first", Path(folder) / "second"
        findings.save(first)
        Findings.load(first).save(second)
        assert (second / "findings.json").read_bytes() == (first / "findings.json").read_bytes()


@FEW
@given(st.lists(st.lists(TEXTS | st.integers(), min_size=2, max_size=2), max_size=4))
def test_a_table_is_read_back_as_it_was_written(rows: list[list[str | int]]):
    read = list(csv.reader(StringIO(csv_text(["a", "b"], rows), newline="")))
    assert read == [
        ["a", "b"],
        *([formula_free(str(cell)) if isinstance(cell, str) else str(cell) for cell in row] for row in rows),
    ]


@FEW
@given(st.text())
def test_any_text_can_be_printed_on_one_line(text: str):
    shown = printable(text)
    assert len(f"{shown}.".splitlines()) == 1
    assert not any(category(letter) in ("Cc", "Zl", "Zp") for letter in shown)
    assert printable(shown) == shown
