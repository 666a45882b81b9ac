"""SQuAD: questions on paragraphs of Wikipedia, answered by a span (Rajpurkar et al., 2016 and 2018)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from weakspot.datasets.base import digest
from weakspot.datasets.inputs.answers import exact_match, f1
from weakspot.datasets.inputs.texts import Texts, tokenizer_digest
from weakspot.datasets.inputs.windows import Windows
from weakspot.datasets.readers.splits import pick_val
from weakspot.datasets.readers.squad_files import Questions, read_questions
from weakspot.tasks import QuestionAnswering

log = logging.getLogger(__name__)

_QUESTION_WORDS = re.compile(r"\b(who|whom|whose|what|when|where|which|why|how)\b", re.IGNORECASE)
_METRICS = {"exact_match": exact_match, "f1": f1}


class SQuAD(Texts):
    """Holds each question with its paragraph; `test` is the published dev set, whose answers are public.

    Validation is a tenth of the training set's *articles*, so that no paragraph is in two splits. A question is
    kept if it and its paragraph together are shorter than `max_length` tokens, as in the published audit
    (inference_squad.py): one window then holds both, and no stride between windows is needed. The number of
    questions left out is logged.

    version       "1.1", where every question has an answer; "2.0", where some have none
    correctness   when a prediction counts as correct, against any of the answers: "exact_match" after
                  normalisation, or "f1" of at least 0.5

    Targets are the first and last token of the first answer, [CLS] at 0 for a question without one.

    Attributes: title (of the article), question_word, answer_words (0: none), context_words, question_words,
    answers (the number that people gave).

    Raises FileNotFoundError, or ValueError naming file and question, if a file is not as published.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        version: str | float = "1.1",
        correctness: Literal["exact_match", "f1"] = "exact_match",
        tokenizer: str | Path = "distilbert-base-uncased-distilled-squad",
        max_length: int = 384,
        download: bool = False,
    ) -> None:
        super().__init__(split, root, tokenizer, max_length, download)
        if str(version) not in ("1.1", "2.0"):
            raise ValueError(f"dataset.version={version} is unknown; choose 1.1 or 2.0")
        if correctness not in _METRICS:
            raise ValueError(
                f"dataset.correctness={correctness!r} is unknown; choose {' or '.join(_METRICS)}"
            )
        self.version, self.correctness = str(version), correctness
        self.tokenizer.padding_side = "right"  # targets count tokens from the left
        half = "dev" if split == "test" else "train"
        questions = read_questions(self.root or Path("data/squad"), half, self.version)
        if split != "test":
            questions = questions.take(np.flatnonzero(pick_val(questions.titles) == (split == "val")))
        windows = Windows(self.tokenizer, questions.texts, questions.contexts, questions.context_of)
        short = np.flatnonzero(windows.lengths < max_length)
        log.info(
            "SQuAD %s, %s: %d of %d questions are left out, as they and their paragraphs have %d tokens or more",
            self.version,
            split,
            len(questions) - len(short),
            len(questions),
            max_length,
        )
        self.questions = questions.take(short)
        self.windows = windows.take(short)
        self.texts = self.questions.texts
        self.task = QuestionAnswering(length=max_length)
        self.targets = self.windows.tokens(np.arange(len(short)), self.questions.spans)
        self.examples = _describe(self.questions)

    def input(self, row: int) -> dict[str, Tensor]:
        """Return question and paragraph as one row of tokens, and a mask of where an answer may begin or end."""
        pair = self.tokenizer(self.questions.texts[row], self._context(row))
        answerable = self.windows.answerable(row)
        answerable[0] = self.version == "2.0"  # in 1.1 every question has an answer
        return {**{name: torch.tensor(values) for name, values in pair.items()}, "answerable": answerable}

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate as for any text; padding cannot be part of an answer."""
        masks = [item["input"]["answerable"] for item in items]
        rest = [
            {**item, "input": {k: v for k, v in item["input"].items() if k != "answerable"}} for item in items
        ]
        batch = super().collate(rest)
        batch["input"]["answerable"] = torch.nn.utils.rnn.pad_sequence(masks, batch_first=True)
        return batch

    def preview(self, row: int) -> dict[str, str]:  # type: ignore[override]
        """Return question, paragraph and people's answers; spans in the record count characters of `context`."""
        answers = "; ".join(dict.fromkeys(self.questions.answers[row])) or "no answer"
        return {"question": self.questions.texts[row], "context": self._context(row), "answers": answers}

    def judge(self, rows: Int[np.ndarray, " b"], predictions: Int[np.ndarray, "b 2"]) -> Mapping[str, Any]:
        """Return the spans of characters in the paragraph, (first, one after the last), and whether they are correct.

        The span (0, 0) means that there is no answer.
        """
        spans = self.windows.characters(rows, predictions)
        return {
            "labels": self.questions.spans[rows],
            "predictions": spans,
            "correct": self._are_correct(rows, spans),
        }

    def scores(self, predictions: Int[np.ndarray, "n 2"]) -> dict[str, float]:
        """Return the mean exact match and F1 of predictions for this split, given as spans of characters.

        They are the official metrics, except that long questions are left out.
        """
        pairs = [
            (self._text(row, span), self.questions.answers[row])
            for row, span in enumerate(predictions.tolist())
        ]
        return {
            name: float(np.mean([score(text, answers) for text, answers in pairs]))
            for name, score in _METRICS.items()
        }

    def fingerprint(self) -> str:
        texts = "\0".join([*self.questions.texts, *self.questions.contexts]).encode("utf-8", "surrogatepass")
        answers = "\0".join("\1".join(given) for given in self.questions.answers).encode(
            "utf-8", "surrogatepass"
        )
        how = f"{tokenizer_digest(self.tokenizer)} {self.max_length} {self.version} {self.correctness}"
        return digest(
            self.examples,
            self.targets,
            self.questions.context_of,
            self.questions.spans,
            texts,
            answers,
            how.encode(),
        )

    def _context(self, row: int) -> str:
        text: str = self.questions.contexts[self.questions.context_of[row]]
        return text

    def _text(self, row: int, span: tuple[int, int]) -> str:
        return self._context(row)[span[0] : span[1]]

    def _are_correct(self, rows: np.ndarray, spans: np.ndarray) -> Bool[np.ndarray, " b"]:
        score = _METRICS[self.correctness]
        at_least = 1.0 if self.correctness == "exact_match" else 0.5
        pairs = zip(rows.tolist(), spans.tolist(), strict=True)
        return np.array(
            [score(self._text(row, span), self.questions.answers[row]) >= at_least for row, span in pairs]
        )


def _describe(questions: Questions) -> pa.Table:
    words = [len(text.split()) for text in questions.contexts]
    matches = [_QUESTION_WORDS.search(question) for question in questions.texts]
    return pa.table(
        {
            "id": questions.ids,
            "title": questions.titles,
            "question_word": [word.group().lower() if word else "other" for word in matches],
            "answer_words": [len(given[0].split()) if given else 0 for given in questions.answers],
            "context_words": [words[context] for context in questions.context_of],
            "question_words": [len(question.split()) for question in questions.texts],
            "answers": [len(given) for given in questions.answers],
        }
    )
