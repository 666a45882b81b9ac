"""Which words a slice of texts has more of than the rest: what it is about, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_SPELLING = r"(?u)\b\w[\w'’-]*\b"  # a letter suffices: "I" and "5" are words; "don't" is one
_RAREST = 3  # texts; what stands in fewer describes no group
_MOST = 50_000  # words and pairs of words that are weighed


@dataclass(frozen=True)
class Word:
    """A word, or two in a row, that is commoner in a slice of texts than outside.

    share_inside, share_outside   weighted shares of the texts that contain it
    contrast                      mean tf-idf inside less outside, by which words are ranked
    """

    text: str
    share_inside: float
    share_outside: float
    contrast: float


def distinctive_words(
    weights: Float[np.ndarray, "k n"],
    texts: Sequence[str],
    counts: Float[np.ndarray, " n"] | None = None,
    top: int = 12,
) -> list[list[Word]]:
    """For each slice its most distinctive words, by the contrast of weighted mean tf-idf inside and outside.

    Words are counted once over all texts, whatever the number of slices. A pair of words is listed only where
    it says more than a word of it that is listed already. Empty where no word is in three texts, or where a
    slice has no inside or no outside.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    rarest = min(_RAREST, max(1, len(texts) // 20))
    vectorizer = TfidfVectorizer(
        token_pattern=_SPELLING, ngram_range=(1, 2), min_df=rarest, max_features=_MOST, dtype=np.float32
    )
    try:
        weighed = vectorizer.fit_transform(texts)
    except ValueError:  # no word at all, or none that is in enough texts
        return [[] for _ in weights]
    names = vectorizer.get_feature_names_out()
    present = weighed.copy()
    present.data[:] = 1
    c = np.ones(len(texts)) if counts is None else np.asarray(counts, dtype=np.float64)
    return [_words(c * w, c * (1 - w), weighed, present, names, top) for w in np.asarray(weights, np.float64)]


def _words(
    inside: np.ndarray,
    outside: np.ndarray,
    weighed: Float[np.ndarray, "n v"],
    present: Float[np.ndarray, "n v"],
    names: np.ndarray,
    top: int,
) -> list[Word]:
    if inside.sum() <= 0 or outside.sum() <= 0:
        return []
    inside, outside = inside / inside.sum(), outside / outside.sum()
    contrast = weighed.T @ inside - weighed.T @ outside
    found: list[Word] = []
    said: set[str] = set()
    for column in np.argsort(-contrast, kind="stable"):
        if len(found) == top or contrast[column] <= 0:
            break
        parts = names[column].split()
        if len(parts) == 2 and said & set(parts):
            continue
        said |= set(parts)
        share = present[:, [column]].T
        found.append(
            Word(
                str(names[column]),
                float((share @ inside)[0]),
                float((share @ outside)[0]),
                float(contrast[column]),
            )
        )
    return found
