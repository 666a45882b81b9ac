"""A passage of text with the answer and what the model took for it marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_AROUND = 240  # characters shown before and after what is marked

Span = tuple[int, int]


@dataclass(frozen=True)
class Segment:
    """Some of a passage; whether it belongs to the answer (label), to what the model said (prediction)."""

    text: str
    label: bool = False
    prediction: bool = False


def marked(passage: str, label: Span | None, prediction: Span | None) -> Sequence[Segment]:
    """The passage in segments, cut down to what lies around the marks; spans are first and end character.

    Empty spans (no answer) mark nothing.
    """
    spans = [span for span in (label, prediction) if span is not None and span[1] > span[0]]
    start = max(0, min((span[0] for span in spans), default=0) - _AROUND)
    end = min(len(passage), max((span[1] for span in spans), default=_AROUND) + _AROUND)
    edges = sorted({start, end, *(min(max(edge, start), end) for span in spans for edge in span)})

    def within(span: Span | None, at: int) -> bool:
        return span is not None and span[0] <= at < span[1]

    segments = [
        Segment(passage[low:high], within(label, low), within(prediction, low))
        for low, high in pairwise(edges)
    ]
    before = [Segment("… ")] if start > 0 else []
    after = [Segment(" …")] if end < len(passage) else []
    return [*before, *segments, *after]


def said(passage: str, span: Span) -> str:
    """What a span says, or that it says there is no answer."""
    return passage[span[0] : span[1]] or "no answer"
