"""Finds words that are more frequent in a slice of texts than in the rest, to show what it is about."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import regex
from jaxtyping import Bool, Float

from weakspot.slices import Weights, as_weights

_RAREST = 3  # texts; a word in fewer does not describe a group
_MOST = 50_000  # words and pairs of words that are weighed

# Scripts without spaces between words: there, runs of at most so many characters stand for words
_UNBROKEN = {r"[\p{Han}\p{Hiragana}]": 4, r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]": 8}
_RUN = "|".join(f"{script}+" for script in (rf"(?:{script}\p{{M}}*)" for script in _UNBROKEN))
_WORD = rf"""
    [\p{{Katakana}}\u30FC\uFF70]+                                  # between Kanji and Hiragana it stands out
  | (?!{_RUN}) [\p{{L}}\p{{N}}_]                                   # a letter suffices: "I" and "5" are words
    (?: (?!{_RUN}) [\p{{L}}\p{{M}}\p{{N}}_\u200C\u200D'’-] )*
    (?<! ['’-] ) (?: \+\+ | [+\#] (?!\w) )?                        # don't, C++, C#
  | \p{{Regional_Indicator}}{{2}}                                  # a flag
  | (?! [©®™] ) (?= \p{{Extended_Pictographic}} | [0-9\#*]\uFE0F?\u20E3 ) \X     # an emoji with all its parts
"""
_TOKEN = regex.compile(rf"(?P<word>{_WORD})|(?P<run>{_RUN})", regex.VERBOSE | regex.V1)
_HAN = regex.compile(r"\p{Han}")
_LONGER_RUN_SHARE = (
    0.9  # of the texts inside with a run of characters; if so many have a longer run, that is the word
)
_OVERLAP_SHARE = (
    0.8  # of the texts inside with a run; if so many have another that overlaps it, it is not a word
)
_FALSE_DISCOVERY_RATE = 0.05  # at most, on average, of the words that pass the test


@dataclass(frozen=True)
class Word:
    """Describes a word, or two in a row, that is more frequent in a slice of texts than outside.

    Attributes:
        text: The word.
        share_inside: The weighted share of the texts inside that contain it.
        share_outside: The weighted share of the texts outside that contain it.
        contrast: The mean tf-idf inside minus that outside, by which words are ranked.
    """

    text: str
    share_inside: float
    share_outside: float
    contrast: float


def distinctive_words(
    weights: Weights,
    texts: Sequence[str],
    counts: Float[np.ndarray, " n"] | None = None,
    top: int = 12,
) -> list[list[Word]]:
    """Return the most distinctive words of each slice, by the contrast of weighted mean tf-idf inside and outside.

    Words are counted once over all texts, whatever the number of slices; emoji are words, too. A pair of words is
    listed only if neither of its words is listed already, and any word only if more texts inside have it than chance
    explains, by Fisher's exact test at a false discovery rate of 5 % (Benjamini and Hochberg). Otherwise three long
    texts would lend their words to a slice. In scripts without spaces between words (Chinese, Japanese, Thai, Lao,
    Khmer, Burmese), runs of a few characters are counted instead, and of those that overlap in the same texts the
    longest one is listed. A list is empty if no word passes, or if nothing is inside or nothing outside.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    rarest = min(_RAREST, max(1, len(texts) // 20))
    vectorizer = TfidfVectorizer(
        analyzer=lambda text: list(_features(text)), min_df=rarest, max_features=_MOST, dtype=np.float32
    )
    try:
        weighed = vectorizer.fit_transform(texts)
    except ValueError:  # no word at all, or none that is in enough texts
        return [[] for _ in weights]
    present = weighed.tocsc(copy=True)
    present.data[:] = 1
    vocabulary = _Vocabulary(vectorizer.get_feature_names_out().tolist(), weighed, present)
    c = np.ones(len(texts)) if counts is None else np.asarray(counts, dtype=np.float64)
    return [_rank_words(w, c, vocabulary, top) for w in as_weights(weights)]


def _features(text: str) -> Iterator[str]:
    """Yield the words of a text, each two in a row, and the runs of characters that may be words."""
    before = None
    for token in _TOKEN.finditer(unicodedata.normalize("NFC", text).lower()):
        word = token["word"]
        if word is None:
            yield from _runs(token["run"])
        else:
            yield word
            if before is not None:
                yield f"{before} {word}"
        before = word


def _runs(characters: str) -> Iterator[str]:
    longest = next(most for script, most in _UNBROKEN.items() if regex.match(script, characters))
    letters = regex.findall(r"\X", characters)
    for start, letter in enumerate(letters):
        if _HAN.match(letter):
            yield letter
        for end in range(start + 2, min(start + longest, len(letters)) + 1):
            yield "".join(letters[start:end])


@dataclass(frozen=True)
class _Vocabulary:
    """The counted words, their tf-idf in every text (sparse), and 1 where a text contains them."""

    names: list[str]
    weighed: Any
    present: Any

    def share(self, column: int, mass: Float[np.ndarray, " n"]) -> float:
        """Return Σ mass over the texts that contain a word."""
        return float(mass[self._texts(column)].sum())

    def longest_run(self, column: int, inside: Float[np.ndarray, " n"]) -> int:
        """Return the longest run of characters that nearly always surrounds this one; itself if there is none."""
        name, least = self.names[column], _LONGER_RUN_SHARE * self.share(column, inside)
        around = [
            other
            for other, longer in enumerate(self.names)
            if name in longer and " " not in longer and self.share(other, inside) >= least
        ]
        return max(around, key=lambda other: (len(self.names[other]), self.share(other, inside)))

    def overlaps(self, column: int, others: Sequence[int], inside: Float[np.ndarray, " n"]) -> bool:
        """Return whether a run of characters is a part of one of the others, or runs into one."""
        mine, texts = _pieces(self.names[column]), self._texts(column)
        mass = inside[texts].sum()
        return any(
            mine & _pieces(self.names[other])
            and inside[np.intersect1d(texts, self._texts(other))].sum() >= _OVERLAP_SHARE * mass
            for other in others
        )

    def _texts(self, column: int) -> np.ndarray:
        rows: np.ndarray = self.present.indices[self.present.indptr[column] : self.present.indptr[column + 1]]
        return rows


def _pieces(run: str) -> set[str]:
    """Return the Han characters of a run, each of which is nearly a word, and each two characters in a row."""
    letters = regex.findall(r"\X", run)
    return {letter for letter in letters if _HAN.match(letter)} | {
        first + second for first, second in pairwise(letters)
    }


def _by_chance(
    present: Any, weights: Float[np.ndarray, " n"], counts: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " v"]:
    """Return which words (v,) may be more common inside by chance (Fisher's exact test).

    The numbers of texts inside and outside are effective ones (Kish): full members that would be as informative.
    """
    from scipy.stats import false_discovery_control, hypergeom

    sizes, with_word = [], []
    for w in (weights, 1 - weights):
        mass = counts * w
        size = mass.sum() ** 2 / float(mass @ w)
        sizes.append(round(size))
        with_word.append(np.rint(size * (present.T @ mass) / mass.sum()))
    p = hypergeom.sf(with_word[0] - 1, sum(sizes), with_word[0] + with_word[1], sizes[0])
    by_chance: np.ndarray = false_discovery_control(np.clip(p, 0, 1)) > _FALSE_DISCOVERY_RATE
    return by_chance


def _rank_words(
    weights: Float[np.ndarray, " n"], counts: Float[np.ndarray, " n"], vocabulary: _Vocabulary, top: int
) -> list[Word]:
    inside, outside = counts * weights, counts * (1 - weights)
    if inside.sum() <= 0 or outside.sum() <= 0:
        return []
    by_chance = _by_chance(vocabulary.present, weights, counts)
    inside, outside = inside / inside.sum(), outside / outside.sum()
    contrast = vocabulary.weighed.T @ inside - vocabulary.weighed.T @ outside
    result: list[Word] = []
    listed: set[str] = set()
    runs: list[int] = []
    for best in np.argsort(-contrast, kind="stable"):
        if len(result) == top or contrast[best] <= 0:
            break
        column = int(best)
        if by_chance[column]:
            continue
        parts = vocabulary.names[column].split()
        if len(parts) == 2 and listed & set(parts):
            continue
        if any(regex.match(script, parts[0]) for script in _UNBROKEN):
            longest_run = vocabulary.longest_run(column, inside)
            if any(vocabulary.overlaps(run, runs, inside) for run in (column, longest_run)):
                continue
            column = longest_run
            runs.append(column)
        listed |= set(parts)
        result.append(
            Word(
                vocabulary.names[column],
                vocabulary.share(column, inside),
                vocabulary.share(column, outside),
                float(contrast[column]),
            )
        )
    return result
