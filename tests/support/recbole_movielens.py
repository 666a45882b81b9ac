"""MovieLens-100k from RecBole's wheel, converted back to GroupLens' layout: real ratings without a download.

    python tests/support/recbole_movielens.py data/movielens/ml-100k [recbole-1.2.1-py3-none-any.whl]

RecBole splits the year from the title and spells out genres; dates and addresses are lost and left empty.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import zipfile
from pathlib import Path

from layouts.movielens import GENRES, put

_INSIDE = "dataset_example/ml-100k/ml-100k"


def find() -> Path | None:
    """The wheel that WEAKSPOT_RECBOLE names, or the installed package's folder, or None."""
    if named := os.environ.get("WEAKSPOT_RECBOLE"):
        return Path(named)
    package = importlib.util.find_spec("recbole")
    return Path(package.origin).parent if package is not None and package.origin else None


def write(source: Path, folder: Path) -> None:
    """Write `u.data`, `u.user`, `u.item` and `u.genre` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ratings, users, movies = (_rows(source, kind) for kind in ("inter", "user", "item"))
    put(folder / "u.data", ["\t".join(row) for row in ratings])
    put(folder / "u.user", ["|".join(row) for row in users])
    put(folder / "u.item", [_movie(*row) for row in movies])
    put(folder / "u.genre", [f"{name}|{place}" for place, name in enumerate(GENRES)] + [""])


def _rows(source: Path, kind: str) -> list[list[str]]:
    """The lines below the header, split at tabs."""
    if source.is_file():
        with zipfile.ZipFile(source) as wheel:
            text = wheel.read(f"recbole/{_INSIDE}.{kind}").decode()
    else:
        text = (source / f"{_INSIDE}.{kind}").read_text("utf-8")
    return [line.split("\t") for line in text.splitlines()[1:]]


def _movie(number: str, title: str, year: str, genres: str) -> str:
    if re.fullmatch(r"\d{4}|V", year):
        title = f"{title} ({year})"
    named = re.findall("|".join(GENRES), genres)
    return "|".join([number, title, "", "", "", *(str(int(genre in named)) for genre in GENRES)])


if __name__ == "__main__":
    found = Path(sys.argv[2]) if len(sys.argv) > 2 else find()
    if found is None:
        sys.exit("no RecBole: install it, or name its wheel")
    write(found, Path(sys.argv[1]))
