"""How SQuAD scores an answer: exact match and F1, as its evaluate-v2.0.py does.

evaluate-v1.1.py differs from it only where an answer is of articles and punctuation alone.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and surplus white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the prediction is one of the answers, once both are normalised; "" is "there is no answer"."""
    return _best(lambda said, right: float(said == right), prediction, answers)


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The largest F1 of the words of the prediction and those of an answer, repeated words counted."""
    return _best(_overlap, prediction, answers)


def _best(score: Callable[[str, str], float], prediction: str, answers: Sequence[str]) -> float:
    # an answer that normalises to nothing counts only where there is no other
    right = [text for text in map(normalise, answers) if text] or [""]
    said = normalise(prediction)
    return max(score(said, text) for text in right)


def _overlap(said: str, right: str) -> float:
    ours, theirs = said.split(), right.split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))
