"""Reads SQuAD's questions: from the JSON that its authors publish, or from the tables of the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from weakspot.datasets.readers.hub_tables import read_hub_table

_COLUMNS = ("id", "title", "context", "question", "answers")
_HUB_FOLDERS = {"1.1": ("plain_text", "squad"), "2.0": ("squad_v2",)}


@dataclass(frozen=True)
class Questions:
    """Holds n questions on m paragraphs.

    Attributes:
        ids: (n,) the published ids.
        titles: (n,) the titles of the articles.
        texts: (n,) the questions.
        answers: (n,) people's answers to each question; empty if there are none.
        contexts: (m,) the paragraphs.
        context_of: (n,) the index of each question's paragraph.
        spans: (n, 2) the characters of the first answer in its paragraph, (first, one after the last); (0, 0) if
            there is no answer.
    """

    ids: Sequence[str]
    titles: Sequence[str]
    texts: Sequence[str]
    answers: Sequence[Sequence[str]]
    contexts: Sequence[str]
    context_of: Int[np.ndarray, " n"]
    spans: Int[np.ndarray, "n 2"]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Int[np.ndarray, " k"]) -> Questions:
        """Return some of the questions, with their paragraphs only."""
        used, context_of = np.unique(self.context_of[rows], return_inverse=True)
        return Questions(
            ids=[self.ids[row] for row in rows],
            titles=[self.titles[row] for row in rows],
            texts=[self.texts[row] for row in rows],
            answers=[self.answers[row] for row in rows],
            contexts=[self.contexts[context] for context in used],
            context_of=context_of,
            spans=self.spans[rows],
        )


def read_questions(root: Path, half: str, version: str) -> Questions:
    """Read all questions of a half.

    Args:
        root: The folder of the files.
        half: "train" or "dev".
        version: "1.1" or "2.0".

    Raises:
        FileNotFoundError: If `root` holds the half in none of the known layouts.
        ValueError: If something is not as published, or the data are of version 2.0 although 1.1 is requested; the
            message names file and question.
    """
    file = root / f"{half}-v{version}.json"
    rows = (
        _from_json(file)
        if file.is_file()
        else _from_hub(root, "validation" if half == "dev" else half, version)
    )
    if rows is None:
        raise FileNotFoundError(
            f"no {file.name} in {root}, nor Parquet files, nor a folder by save_to_disk; see docs/datasets/squad.md "
            "for where to get SQuAD, and set dataset.root to its folder"
        )
    where = file if file.is_file() else root
    ids, titles, texts, answers, context_of, spans = [], [], [], [], [], []
    contexts: dict[str, int] = {}
    for row in rows:
        name = f"{where}, question {row['id']!r}"
        for part in _COLUMNS[:-1]:
            _check_text(row[part], f"{name}: its {part}")
        given, starts = _answers(row["answers"], name)
        if not given and version == "1.1":
            raise ValueError(
                f"{name}: it has no answer, so the data are of version 2.0; set dataset.version=2.0"
            )
        span = (starts[0], starts[0] + len(given[0])) if given else (0, 0)
        if given and (span[0] < 0 or row["context"][slice(*span)] != given[0]):
            raise ValueError(
                f"{name}: its answer {given[0][:40]!r} at {span[0]} is not in the paragraph there; fix its "
                "answer_start, or fetch the data again (until July 2021 the datasets library moved some answers)"
            )
        ids.append(row["id"])
        titles.append(row["title"])
        texts.append(row["question"])
        answers.append(given)
        context_of.append(contexts.setdefault(row["context"], len(contexts)))
        spans.append(span)
    return Questions(
        ids, titles, texts, answers, list(contexts), np.array(context_of), np.array(spans).reshape(-1, 2)
    )


def _answers(answers: Any, name: str) -> tuple[list[str], list[int]]:
    """Return the texts of one question's answers, and where each begins in the paragraph."""
    given, starts = (
        answers.get(key) if isinstance(answers, dict) else None for key in ("text", "answer_start")
    )
    if not isinstance(given, list) or not isinstance(starts, list) or len(given) != len(starts):
        raise ValueError(
            f"{name}: its answers are not a list of texts and an equally long list of starts; fetch the data again"
        )
    for text, start in zip(given, starts, strict=True):
        _check_text(text, f"{name}: one of its answers")
        if not text.strip():
            raise ValueError(
                f"{name}: one of its answers is empty; fix it, or remove the answer from the file"
            )
        if type(start) is not int:
            raise ValueError(
                f"{name}: the answer_start of its answer {text[:40]!r} is {start!r}, not an integer; fix it, or "
                "fetch the data again"
            )
    return given, starts


def _check_text(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise ValueError(f"{what} is {repr(text)[:40]}, not a text; fix it, or fetch the data again")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} has half a character (a lone surrogate, {text[error.start]!r}) at {error.start}; fix it, or "
            "fetch the data again"
        ) from error


def _from_json(file: Path) -> Iterator[dict[str, Any]]:
    try:
        articles = json.loads(file.read_text(encoding="utf-8-sig"))["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} cannot be read as SQuAD's JSON ({type(error).__name__}: {error}); fetch it again"
        ) from error
    last = "its beginning"
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    last = f"question {question['id']!r}"
                    given = question["answers"]
                    yield {
                        "id": question["id"],
                        "title": article["title"],
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": {
                            "text": [answer["text"] for answer in given],
                            "answer_start": [answer["answer_start"] for answer in given],
                        },
                    }
    except KeyError as error:
        raise ValueError(
            f"{file} is not as SQuAD publishes it: at or after {last}, {error} is missing"
        ) from error
    except TypeError as error:
        raise ValueError(
            f"{file} is not as SQuAD publishes it: at or after {last}, something is neither a list nor an object"
        ) from error


def _from_hub(root: Path, split: str, version: str) -> Iterator[dict[str, Any]] | None:
    """Return the rows of the hub's tables, from the folder of this version if `root` has one."""
    folders = [root / name for name in _HUB_FOLDERS[version] if (root / name).is_dir()]
    table = read_hub_table(folders[0] if folders else root, split, _COLUMNS)
    return None if table is None else iter(table.to_pylist())
