"""SQuAD 1.1 as its authors published it: one JSON file per split, and a tiny model beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_models import write_model

RIVERS = (
    "Rhine",
    "Danube",
    "Elbe",
    "Oder",
    "Main",
    "Neckar",
    "Weser",
    "Isar",
    "Inn",
    "Lech",
    "Saale",
    "Ruhr",
)
TOWNS = (
    "Basel",
    "Vienna",
    "Dresden",
    "Wrocław",
    "Frankfurt",
    "Stuttgart",
    "Bremen",
    "Munich",
    "Passau",
    "Augsburg",
)


def article(title: str, n: int, version: str = "1.1") -> dict[str, Any]:
    """n paragraphs of two questions each; version 2.0 adds a third question without an answer."""
    paragraphs = []
    for number in range(n):
        river, town = (
            RIVERS[(number + len(title)) % len(RIVERS)],
            TOWNS[(number * 3 + len(title)) % len(TOWNS)],
        )
        context = (
            f"In {title}, the {river} flows through {town}. The Romans built {number + 2} bridges there."
        )
        asked = [
            (f"What flows through {town}?", [f"the {river}", river, river]),
            (f"How many bridges did the Romans build in {town}?", [f"{number + 2}", f"{number + 2} bridges"]),
        ]
        questions = [
            {
                "id": f"{title}-{number}-{place}",
                "question": question,
                "answers": [{"text": text, "answer_start": context.index(text)} for text in answers],
                **({"is_impossible": False} if version == "2.0" else {}),
            }
            for place, (question, answers) in enumerate(asked)
        ]
        if version == "2.0":
            questions.append(
                {
                    "id": f"{title}-{number}-none",
                    "question": f"Who burnt down {town}?",
                    "answers": [],
                    "plausible_answers": [
                        {"text": "The Romans", "answer_start": context.index("The Romans")}
                    ],
                    "is_impossible": True,
                }
            )
        paragraphs.append({"context": context, "qas": questions})
    return {"title": title, "paragraphs": paragraphs}


TRAIN_TITLES = tuple(f"Valley_{number}" for number in range(12))  # a hash sends four of them to validation


def publish(folder: Path, version: str = "1.1") -> None:
    """`train-v….json` and `dev-v….json`."""
    folder.mkdir(exist_ok=True)
    for half, titles in (("train", TRAIN_TITLES), ("dev", ("Plain", "Delta"))):
        content = {"version": version, "data": [article(title, 6, version) for title in titles]}
        (folder / f"{half}-v{version}.json").write_text(json.dumps(content), encoding="utf-8")


def texts() -> list[str]:
    articles = [article(title, 6) for title in (*TRAIN_TITLES, "Plain", "Delta")]
    paragraphs = [paragraph for one in articles for paragraph in one["paragraphs"]]
    return [text for p in paragraphs for text in (p["context"], *(q["question"] for q in p["qas"]))]


def write(data: Path) -> None:
    publish(data / "squad")
    write_model(data / "tiny_squad", texts(), head="ForQuestionAnswering")
