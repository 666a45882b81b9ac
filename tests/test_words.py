"""Distinctive words: planted ones come first, shares are those one counts by hand."""

import numpy as np
import pytest

from weakspot.explain.words import distinctive_words

COMMON = ["the", "film", "was", "long", "and", "the", "people", "in", "it", "were", "many"]


@pytest.fixture
def reviews():
    """Of 300 texts the first 40 speak of a refund and a broken charger, the others of anything."""
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.permutation(COMMON)) + " " + rng.choice(["good", "bad", "fair"]) for _ in range(300)
    ]
    about = np.arange(300) < 40
    texts = [
        text + " refund broken charger" if there else text for text, there in zip(texts, about, strict=True)
    ]
    return texts, about.astype(float)


def test_planted_words_come_first_with_their_shares(reviews):
    texts, weights = reviews
    (words,) = distinctive_words(weights[None], texts)
    assert {word.text for word in words[:3]} == {"refund", "broken", "charger"}
    assert all(word.share_inside == pytest.approx(1) and word.share_outside == 0 for word in words[:3])
    assert all(word.contrast > 0 for word in words)
    assert not any("refund" in word.text.split() and " " in word.text for word in words)  # said already


def test_shares_are_weighted_by_hand_count(reviews):
    texts, weights = reviews
    rng = np.random.default_rng(1)
    weights, counts = weights * rng.uniform(0.2, 1, 300), rng.integers(1, 4, 300)
    (words,) = distinctive_words(weights[None], texts, counts)
    for word in words:
        has = np.array([f" {word.text} " in f" {text} " for text in texts])
        assert word.share_inside == pytest.approx(
            (counts * weights)[has].sum() / (counts * weights).sum(), rel=1e-5
        )
        outside = counts * (1 - weights)
        assert word.share_outside == pytest.approx(outside[has].sum() / outside.sum(), rel=1e-5, abs=1e-9)


def test_the_order_of_texts_changes_nothing(reviews):
    texts, weights = reviews
    order = np.random.default_rng(2).permutation(300)
    (plain,), (shuffled,) = (
        distinctive_words(w[None], t)
        for w, t in ((weights, texts), (weights[order], [texts[i] for i in order]))
    )
    assert [word.text for word in plain[:3]] == [word.text for word in shuffled[:3]]


@pytest.mark.parametrize("texts", [["", "", ""], ["…", "!", "?"], ["one", "two", "three"]])
def test_texts_without_shared_words_give_words_or_nothing(texts):
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    first, second = distinctive_words(weights, texts)
    assert all(word.text == "one" for word in first)
    assert second == []
