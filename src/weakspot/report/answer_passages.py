"""Highlights the answer to a question, and the model's answer, in a passage of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_AROUND = 240  # characters that are shown before and after what is highlighted

Span = tuple[int, int]


@dataclass(frozen=True)
class Segment:
    """A piece of a passage.

    Attributes:
        text: Its text.
        label: Whether it belongs to the answer.
        prediction: Whether it belongs to the model's answer.
    """

    text: str
    label: bool = False
    prediction: bool = False


def highlight_answers(passage: str, label: Span | None, prediction: Span | None) -> Sequence[Segment]:
    """Split a passage into segments, cut down to the text around the answers.

    Args:
        passage: The text.
        label: First character of the answer and the one after the last; nothing is highlighted for an empty span.
        prediction: The same for the model's answer.

    Returns:
        The segments, in order.
    """
    spans = [span for span in (label, prediction) if span is not None and span[1] > span[0]]
    start = max(0, min((span[0] for span in spans), default=0) - _AROUND)
    end = min(len(passage), max((span[1] for span in spans), default=_AROUND) + _AROUND)
    edges = sorted({start, end, *(min(max(edge, start), end) for span in spans for edge in span)})

    def within(span: Span | None, position: int) -> bool:
        return span is not None and span[0] <= position < span[1]

    segments = [
        Segment(passage[low:high], within(label, low), within(prediction, low))
        for low, high in pairwise(edges)
    ]
    before = [Segment("… ")] if start > 0 else []
    after = [Segment(" …")] if end < len(passage) else []
    return [*before, *segments, *after]


def span_text(passage: str, span: Span) -> str:
    """Return the text of a span, or "no answer" for an empty one."""
    return passage[span[0] : span[1]] or "no answer"
