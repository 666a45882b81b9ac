"""The report of texts, answers and ratings."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from report_pages import chromium, needs_chromium, opened, read, report_of
from weakspot.explain.participants import participants
from weakspot.findings.entries import Example
from weakspot.predictions import Predictions
from weakspot.report.answer_passages import highlight_answers, span_text
from weakspot.report.example_views import ExampleView
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import QuestionAnswering, Rating

CONTEXT = "In 1066 William of Normandy crossed the Channel. " + "Nothing else happened there. " * 30


def sliced(predictions, weights):
    return Slices("spotlight", predictions.ids, weights, describe(weights, predictions), provenance={})


def ratings(n=200):
    """A model that misjudges what user 3 thinks of horror films."""
    rng = np.random.default_rng(0)
    user, movie = rng.integers(0, 8, n), rng.integers(0, 12, n)
    failing = (user == 3) & (movie < 6)
    label = rng.integers(0, 5, n)
    outputs = np.eye(5)[np.where(failing, 4 - label, label)] * 4.0
    predictions = Predictions.from_arrays(
        rng.normal(size=(n, 4)),
        labels=label,
        outputs=outputs,
        attributes=pa.table(
            {
                "user": user.astype(str),
                "movie": [f"Film {m} <b>" for m in movie],
                "age": 20 + user,
                "horror": np.where(movie < 6, "yes", "no"),
            }
        ),
        task=Rating(("1", "2", "3", "4", "5")),
    )
    return predictions, failing.astype(float)[None]


def answers():
    spans = np.array([[3, 7], [8, 15], [0, 0]])
    said_instead = np.array([[3, 7], [8, 27], [36, 47]])
    predictions = Predictions.from_arrays(
        np.eye(3),
        losses=[0.1, 2.0, 3.0],
        labels=spans,
        predictions=said_instead,
        correct=[True, False, False],
        task=QuestionAnswering(length=64),
    )
    preview = [{"question": f"Question {row}?", "context": CONTEXT, "answers": ["x"]} for row in range(3)]
    return predictions, preview.__getitem__


def test_participants_match_a_computation_by_hand():
    predictions, weights = ratings()
    (first, *others) = participants(weights[0], predictions, "user")
    inside = weights[0] > 0
    assert others == []  # nobody else has any weight
    assert first.name == "3"
    assert first.about == {"age": 23}  # a user has one age, but films of both kinds
    assert first.members == inside.sum() == first.weight
    assert first.given == pytest.approx(1 + predictions.labels[inside].mean())
    shares = np.exp(predictions.outputs) / np.exp(predictions.outputs).sum(axis=1, keepdims=True)
    assert first.expected == pytest.approx((shares @ np.arange(1, 6))[inside].mean(), rel=1e-5)
    assert first.loss == pytest.approx(predictions.losses[inside].mean(), rel=1e-5)
    movies = participants(weights[0], predictions, "movie")
    assert all(movie.traits == ("horror",) and movie.about == {} for movie in movies)
    assert [m.weight for m in movies] == sorted((m.weight for m in movies), reverse=True)


def test_ratings_have_tables_of_users_and_movies():
    predictions, weights = ratings()
    page = report_of(predictions, sliced(predictions, weights), held=False)
    words = read(page)
    assert "Users of most weight" in words
    assert "Movies of most weight" in words
    assert "Film 1 <b>" in words
    assert "Film 1 <b>" not in page  # escaped


def test_yes_or_no_attributes_are_named_only_if_yes():
    attributes = {
        "wet": True,
        "cold": False,
        "horror": "yes",
        "comedy": "no",
        "n": 1,
        "none": 0,
        "age": "old",
    }
    example = ExampleView(Example(7, "7", None, None, None, None, attributes), None, None, None)
    assert example.facts == ["wet", "horror", "n 1", "none 0", "old"]
    assert replace(example, record={"age": "old", "n": 1}).facts == ["wet", "horror", "none 0"]


def test_answers_are_highlighted_at_their_spans():
    segments = highlight_answers(CONTEXT, (8, 15), (8, 27))
    assert "".join(segment.text for segment in segments if segment.label) == "William"
    assert "".join(segment.text for segment in segments if segment.prediction) == "William of Normandy"
    assert segments[-1].text == " …"
    assert sum(len(segment.text) for segment in segments) < 400
    whole = highlight_answers("short", None, (0, 0))
    assert [segment.text for segment in whole] == ["short"]
    assert span_text(CONTEXT, (3, 7)) == "1066"
    assert span_text(CONTEXT, (0, 0)) == "no answer"


def test_answers_are_shown_and_highlighted():
    predictions, preview = answers()
    page = report_of(
        predictions, sliced(predictions, np.array([[0.5, 1.0, 0.9]])), preview=preview, held=False
    )
    words = read(page)
    assert "William → William of Normandy" in words
    assert "no answer → the Channel" in words
    assert (
        page.count('<mark class="both"') == 4
    )  # one whole answer and a part of another, in the finding and in the slice
    assert page.count('<mark class="prediction"') == 4
    assert "Question 2?" in words


@pytest.mark.parametrize(("refunds", "name"), [(6, "texts with “"), (5, "texts, many with “")])
def test_texts_are_shown_with_their_distinctive_words(refunds, name):
    texts = ["refund my broken thing"] * refunds + ["what a lovely day it is"] * (36 - refunds)
    weights = np.array([[1.0] * 6 + [0.0] * 30])
    predictions = Predictions.from_arrays(
        np.random.default_rng(0).normal(size=(36, 3)), losses=1 + weights[0]
    )
    page = report_of(
        predictions,
        sliced(predictions, weights),
        preview=texts.__getitem__,
        texts=texts,
        held=False,
    )
    words = read(page)
    assert name in words
    assert "Distinctive words" in words
    assert "refund my broken thing" in words


@needs_chromium
def test_records_are_shown_in_a_browser_without_errors(tmp_path):
    for predictions, weights, preview in (
        (*ratings(), None),
        (answers()[0], np.array([[0.5, 1.0, 0.9]]), answers()[1]),
    ):
        page = report_of(predictions, sliced(predictions, weights), preview=preview, held=False)
        with chromium() as browser:
            tab, requests, complaints = opened(browser, tmp_path, page, width=390)
            assert requests == [(tmp_path / "report.html").as_uri()]
            assert complaints == []
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
