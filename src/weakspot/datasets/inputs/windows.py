"""Locates a question and its paragraph in one row of tokens, and the characters that a token covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import regex
import torch
from jaxtyping import Int
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AT_ONCE = 4096  # texts
_MARKS = regex.compile(r"\p{M}+")


class Windows:
    """Maps between characters and tokens in rows `[CLS] question [SEP] paragraph [SEP]`, tokenizing each text alone.

    Each paragraph is tokenized once, however many questions it has, and no row of tokens is kept: n questions on m
    paragraphs take the time of n short texts and m long ones, and eight bytes per token of a paragraph.

    Attributes:
        lengths: (n,) the number of tokens of each row.

    Raises:
        ValueError: If the tokenizer is a slow one, which has no offsets, or does not write rows in this order.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        questions: Sequence[str],
        contexts: Sequence[str],
        context_of: Int[np.ndarray, " n"],
    ) -> None:
        self._special = _layout(tokenizer)
        self._offsets = [
            _with_marks(np.array(offsets, dtype=np.int32).reshape(-1, 2), context)
            for batch in _batches(contexts)
            for context, offsets in zip(
                batch, _tokenize(tokenizer, batch, return_offsets_mapping=True)["offset_mapping"], strict=True
            )
        ]
        self._context_of = context_of
        asked = [
            len(ids) for batch in _batches(questions) for ids in _tokenize(tokenizer, batch)["input_ids"]
        ]
        before, between, after = self._special
        self._starts = np.array(asked, dtype=np.int64) + before + between
        widths = np.array([len(offsets) for offsets in self._offsets], dtype=np.int64)
        self.lengths: Int[np.ndarray, " n"] = self._starts + widths[context_of] + after

    def take(self, rows: Int[np.ndarray, " k"]) -> Windows:
        """Return some of the rows, with their paragraphs only."""
        taken = Windows.__new__(Windows)
        used, taken._context_of = np.unique(self._context_of[rows], return_inverse=True)
        taken._special = self._special
        taken._offsets = [self._offsets[context] for context in used]
        taken._starts, taken.lengths = self._starts[rows], self.lengths[rows]
        return taken

    def answerable(self, row: int) -> Tensor:
        """Return the mask (t,) of the tokens of the paragraph."""
        mask = torch.zeros(int(self.lengths[row]), dtype=torch.bool)
        mask[self._starts[row] : self.lengths[row] - self._special[2]] = True
        return mask

    def tokens(self, rows: Int[np.ndarray, " b"], spans: Int[np.ndarray, "b 2"]) -> Int[np.ndarray, "b 2"]:
        """Return the first and last token of each span of characters; for the empty span (0, 0), both are [CLS].

        As in the published code, the first token is the latest that begins at or before the span's start, and the
        last token the earliest that ends at or after its end. Blanks at either end of a span are ignored.
        """
        result = np.zeros((len(rows), 2), dtype=np.int64)
        for index, (row, (start, stop)) in enumerate(zip(rows, spans, strict=True)):
            offsets = self._offsets[self._context_of[row]]
            if stop > start and len(offsets):
                begins, ends = offsets.T
                first = np.searchsorted(begins, start, side="right") - 1
                if first < 0 or ends[first] <= start:
                    first += 1
                last = min(np.searchsorted(ends, stop), np.searchsorted(begins, stop) - 1)
                inside = np.clip([first, max(first, last)], 0, len(offsets) - 1)
                result[index] = self._starts[row] + inside
        return result

    def characters(
        self, rows: Int[np.ndarray, " b"], tokens: Int[np.ndarray, "b 2"]
    ) -> Int[np.ndarray, "b 2"]:
        """Return the spans of characters that tokens cover, (first, one after the last); (0, 0) outside paragraphs."""
        result = np.zeros((len(rows), 2), dtype=np.int64)
        for index, (row, pair) in enumerate(zip(rows, tokens, strict=True)):
            offsets = self._offsets[self._context_of[row]]
            first, last = pair - self._starts[row]
            if 0 <= first <= last < len(offsets):
                result[index] = offsets[first, 0], offsets[last, 1]
        return result


def _with_marks(offsets: Int[np.ndarray, "t 2"], text: str) -> Int[np.ndarray, "t 2"]:
    """Extend tokens by the accents and vowel signs that follow their letters, which the tokenizer leaves out."""
    for mark in _MARKS.finditer(text):
        begins, ends = offsets.T
        if not ((begins >= mark.start()) & (begins < mark.end())).any():
            offsets[ends == mark.start(), 1] = mark.end()
    return offsets


def _layout(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int, int]:
    """Return how many special tokens are before the question, between it and the paragraph, and after the paragraph."""
    if not tokenizer.is_fast:
        raise ValueError(
            "questions need a tokenizer that gives the characters of each token; give a folder with tokenizer.json"
        )
    pair: Any = tokenizer("a", "b")
    of = pair.sequence_ids()
    first, second = of.index(0), of.index(1)
    if first == 0 or second < first or pair["input_ids"][0] != tokenizer.cls_token_id:
        raise ValueError(
            "questions need a tokenizer that writes [CLS], the question, then its paragraph, as BERT's does; "
            f"this one writes {tokenizer.decode(pair['input_ids'])!r}"
        )
    after = next(index for index, side in enumerate(reversed(of)) if side == 1)
    between = sum(side is None for side in of) - first - after
    return first, between, after


def _tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], **options: Any) -> Any:
    quiet = {"verbose": False, "return_attention_mask": False, "return_token_type_ids": False}
    return tokenizer(list(texts), add_special_tokens=False, **quiet, **options)


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE)]
