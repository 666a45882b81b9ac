"""SQuAD's scores of an answer, exact match and F1, as its evaluate-v2.0.py computes them.

evaluate-v1.1.py differs only if an answer consists of nothing but articles and punctuation. torchmetrics' `SQuAD` is
not used: it follows evaluate-v1.1.py, fails on questions without an answer, and returns float32 percentages of a whole
set, although each question's own score is needed.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise(text: str) -> str:
    """Return the text in lower case, without punctuation, articles and surplus white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """Return 1.0 if the normalised prediction is one of the answers, else 0.0; "" means that there is no answer."""
    return _best_score(lambda predicted, answer: float(predicted == answer), prediction, answers)


def f1(prediction: str, answers: Sequence[str]) -> float:
    """Return the largest F1 between the words of the prediction and those of an answer, counting repeated words."""
    return _best_score(_overlap, prediction, answers)


def _best_score(score: Callable[[str, str], float], prediction: str, answers: Sequence[str]) -> float:
    # an answer that normalises to nothing counts only if there is no other
    accepted = [text for text in map(normalise, answers) if text] or [""]
    predicted = normalise(prediction)
    return max(score(predicted, text) for text in accepted)


def _overlap(predicted: str, answer: str) -> float:
    predicted_words, answer_words = predicted.split(), answer.split()
    if not predicted_words or not answer_words:
        return float(predicted_words == answer_words)
    shared = sum((Counter(predicted_words) & Counter(answer_words)).values())
    return 2 * shared / (len(predicted_words) + len(answer_words))
