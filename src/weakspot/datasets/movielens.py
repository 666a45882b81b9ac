"""MovieLens-100k: a hundred thousand ratings of movies, with attributes of users and movies."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Bool, Int, Shaped

from weakspot.datasets.base import Dataset, digest
from weakspot.datasets.readers.splits import pick_val, split_by_id
from weakspot.delimited import read_delimited
from weakspot.hashing import id_hashes
from weakspot.tasks import Rating

RATINGS = Rating(("1", "2", "3", "4", "5"))
FOLDS = {"1": "u1", "2": "u2", "3": "u3", "4": "u4", "5": "u5", "ua": "ua", "ub": "ub"}

_RATING_COLUMNS = ("user", "movie", "rating", "timestamp")
_USER_COLUMNS = ("id", "age", "gender", "occupation", "zip")
_MOVIE_COLUMNS = ("id", "title", "release", "video_release", "url")
_AGES = {18: "under 18", 25: "18 to 24", 35: "25 to 34", 45: "35 to 44", 50: "45 to 49", 56: "50 to 55"}
_OLDEST = "56 and over"

Ratings = dict[str, Int[np.ndarray, " n"]]  # user, movie: positions; rating: class index


class MovieLens(Dataset):
    """One example per rating, in the files that GroupLens publishes: `u.data`, `u.user`, `u.item`, `u.genre`.

    They are in `root`, or in `root/ml-100k` as the archive unpacks. The input is a user and a movie, as their
    positions in `u.user` and `u.item`. In every split, a batch also carries all ratings of the training split
    (`known_user`, `known_movie`, `known_rating`, a class index), from which the others are predicted. To predict
    a known rating, those of the same tenth must be hidden (`part`, `known_part`; -1: not known), so that the
    prediction does not depend on the rest of the batch.

    fold   None: a rating's split follows from its id, "user-movie", by a hash, 7 : 1 : 2.
           1 to 5, "ua", "ub": as published. `u1.base` is train and val (a tenth of it, by the same hash),
           `u1.test` is test.

    Attributes are the user's and the movie's, each genre on its own, and how many training ratings the user and
    the movie have. Age groups are those of MovieLens-1M.

    Raises FileNotFoundError or ValueError, naming file and line, for a missing file, a line in another format, a
    rating outside 1 to 5, the same pair twice, and a user or movie that is not in its list.
    """

    group = "user"

    def __init__(self, split: str, root: str | Path | None = None, fold: int | str | None = None) -> None:
        super().__init__(split, root)
        if fold is not None and str(fold) not in FOLDS:
            raise ValueError(
                f"MovieLens has no fold {fold!r}; choose {', '.join(FOLDS)}, or null for a hash of ids"
            )
        folder = _folder(self.root)
        users, movies, genres = _read_users(folder), *_read_movies(folder)
        ratings, splits = _read_splits(folder, fold, users, movies)
        rows, known = splits == split, splits == "train"

        self.task = RATINGS
        self.known = {f"known_{name}": torch.from_numpy(column[known]) for name, column in ratings.items()}
        self.users, self.movies = ratings["user"][rows], ratings["movie"][rows]
        parts = _parts(
            _ids(users["id"].to_numpy()[ratings["user"]], movies["id"].to_numpy()[ratings["movie"]])
        )
        self.known["known_part"] = torch.from_numpy(parts[known])
        self.parts = np.where(known, parts, -1)[rows]
        self.targets = ratings["rating"][rows]
        self.genres = genres
        self.examples = self._describe(users, movies)

    def input(self, row: int) -> dict[str, int]:
        """Return the positions of user and movie; `collate` adds the known ratings, the same for all rows."""
        return {
            "user": int(self.users[row]),
            "movie": int(self.movies[row]),
            "part": int(self.parts[row]),
        }

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().collate(items)
        return batch | {"input": batch["input"] | self.known}

    def preview(self, row: int) -> Mapping[str, Any]:
        (about,) = self.examples.slice(row, 1).to_pylist()
        return {
            "movie": about["movie"],
            "year": about["year"],
            "genres": ", ".join(name for name in self.genres if about[name]),
            **{name: about[name] for name in ("user", "age", "gender", "occupation")},
            "rating": RATINGS.classes[self.targets[row]],
        }

    def fingerprint(self) -> str:
        return digest(self.examples, self.targets, *(tensor.numpy() for tensor in self.known.values()))

    def _describe(self, users: pa.Table, movies: pa.Table) -> pa.Table:
        ids = _ids(users["id"].to_numpy()[self.users], movies["id"].to_numpy()[self.movies])
        about_user = users.take(pa.array(self.users))
        about_movie = movies.take(pa.array(self.movies))
        user_ratings = np.bincount(self.known["known_user"], minlength=len(users))
        movie_ratings = np.bincount(self.known["known_movie"], minlength=len(movies))
        return pa.table(
            {
                "id": ids,
                "movie": about_movie["title"],
                "year": about_movie["year"],
                "decade": about_movie["decade"],
                "user": about_user["id"].cast(pa.string()),
                "age": about_user["age"],
                "age_group": about_user["age_group"],
                "gender": about_user["gender"],
                "occupation": about_user["occupation"],
                "user_ratings": user_ratings[self.users],
                "movie_ratings": movie_ratings[self.movies],
                **{name: about_movie[name] for name in self.genres},
            }
        ).combine_chunks()


def _folder(root: Path | None) -> Path:
    candidates = [] if root is None else [root / "ml-100k", root]
    folder = next((path for path in candidates if (path / "u.user").is_file()), None)
    if folder is None:
        raise FileNotFoundError(
            f"no u.user in {root} or its ml-100k; fetch ml-100k.zip (grouplens.org/datasets/movielens/100k), "
            "unpack it there, or set dataset.root"
        )
    return folder


def _read_users(folder: Path) -> pa.Table:
    file = folder / "u.user"
    table = _read(file, _USER_COLUMNS, "|", integers=("id", "age"))
    _check_unique(file, table["id"].to_pylist())
    limits, names = np.array(list(_AGES)), np.array([*_AGES.values(), _OLDEST])
    groups = names[np.searchsorted(limits, table["age"].to_numpy(), side="right")]
    return table.append_column("age_group", pa.array(groups))


def _read_movies(folder: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """Read `u.item`, with year and decade of release and genres as booleans, and the genres' names.

    The year is taken from the title, "Toy Story (1995)", else from the release date; one movie has neither.
    """
    genres = _read_genres(folder / "u.genre")
    file = folder / "u.item"
    table = _read(file, (*_MOVIE_COLUMNS, *genres), "|", integers=("id", *genres))
    _check_unique(file, table["id"].to_pylist())
    for genre in genres:
        flags = table[genre].to_numpy()
        _check_rows(file, (flags != 0) & (flags != 1), f"{genre!r} is {{}}, not 0 or 1", flags)
        table = table.set_column(table.column_names.index(genre), genre, pa.array(flags == 1))
    named = zip(table["title"].to_pylist(), table["release"].to_pylist(), strict=True)
    years = [_year(title, release) for title, release in named]
    decades = [None if year is None else f"{year // 10 * 10}s" for year in years]
    table = table.append_column("year", pa.array(years, pa.int64()))
    return table.append_column("decade", pa.array(decades, pa.string())), genres


def _year(title: str, release: str) -> int | None:
    matched = re.findall(r"\((\d{4})\)", title)[-1:] or re.findall(r"\d{4}$", release)
    return int(matched[0]) if matched else None


def _read_genres(file: Path) -> tuple[str, ...]:
    """Read the names in `u.genre` ("Action|1"), in the order of the flags in `u.item`."""
    _check_exists(file)
    names: list[str] = []
    data = file.read_bytes().removeprefix(BOM_UTF8)  # which some editors write at the start of a file
    for line, text in enumerate(data.decode("latin-1").splitlines(), start=1):
        if not text.strip():  # the published file ends with an empty line
            continue
        name, _, number = text.strip().rpartition("|")
        if not name or number != str(len(names)):
            raise ValueError(f"{file}, line {line}: expected a genre, | and {len(names)}, not {text!r}")
        names.append("unknown genre" if name == "unknown" else name)
    return tuple(names)


def _read_splits(
    folder: Path, fold: int | str | None, users: pa.Table, movies: pa.Table
) -> tuple[Ratings, Shaped[np.ndarray, " n"]]:
    """Read all ratings, and the split of each."""
    if fold is None:
        ratings, ids = _read_ratings(folder / "u.data", users, movies)
        return ratings, split_by_id(ids)
    base_file, test_file = (folder / f"{FOLDS[str(fold)]}.{half}" for half in ("base", "test"))
    base, base_ids = _read_ratings(base_file, users, movies)
    test, test_ids = _read_ratings(test_file, users, movies)
    _check_rows(
        test_file, np.isin(test_ids, base_ids), f"{{}} (user-movie) is in {base_file.name}, too", test_ids
    )
    splits = np.where(pick_val(base_ids), "val", "train")
    joined = {name: np.concatenate([base[name], test[name]]) for name in base}
    return joined, np.concatenate([splits, np.full(len(test_ids), "test")])


def _read_ratings(file: Path, users: pa.Table, movies: pa.Table) -> tuple[Ratings, list[str]]:
    table = _read(file, _RATING_COLUMNS, "\t", integers=_RATING_COLUMNS)
    user, movie, rating = (table[name].to_numpy() for name in ("user", "movie", "rating"))
    allowed = np.array(RATINGS.classes, dtype=np.int64)
    choices = ", ".join(RATINGS.classes)
    _check_rows(file, ~np.isin(rating, allowed), f"the rating is {{}}, not one of {choices}", rating)
    positions = {
        "user": _positions(file, user, users, "user {} has no entry in u.user"),
        "movie": _positions(file, movie, movies, "movie {} has no entry in u.item"),
    }
    ids = _ids(user, movie)
    _check_unique(file, ids)
    return {**positions, "rating": rating - allowed[0]}, ids


def _positions(
    file: Path, numbers: Int[np.ndarray, " n"], listed: pa.Table, problem: str
) -> Int[np.ndarray, " n"]:
    """Return the position of each number in the list; `problem` is the error for the first that is missing."""
    matched = pc.index_in(pa.array(numbers), listed["id"].combine_chunks())
    _check_rows(file, matched.is_null().to_numpy(zero_copy_only=False), problem, numbers)
    positions: np.ndarray = matched.to_numpy().astype(np.int64)
    return positions


def _parts(ids: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Assign each rating to a tenth, 0 to 9, by a hash of its id."""
    parts: np.ndarray = (10 * id_hashes(ids, "movielens/part")).astype(np.int64)
    return parts


def _ids(users: Int[np.ndarray, " n"], movies: Int[np.ndarray, " n"]) -> list[str]:
    return [f"{user}-{movie}" for user, movie in zip(users.tolist(), movies.tolist(), strict=True)]


def _read(file: Path, columns: Sequence[str], delimiter: str, integers: Sequence[str]) -> pa.Table:
    """Read a file without a header, with columns of Latin-1 text and of integers."""
    _check_exists(file)
    expected = delimiter.join(columns[:5]) + (f"{delimiter}…" if len(columns) > 5 else "")
    return read_delimited(
        file,
        {name: pa.int64() if name in integers else pa.string() for name in columns},
        delimiter,
        quotes=False,
        blank_lines=False,  # one line, one row
        encoding="latin-1",
        advice=f"a line is {expected!r}",
    )


def _check_exists(file: Path) -> None:
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}; the archive ml-100k.zip has it: unpack it again")


def _check_unique(file: Path, ids: Sequence[object]) -> None:
    first: dict[object, int] = {}
    for line, name in enumerate(ids, start=1):
        if first.setdefault(name, line) != line:
            raise ValueError(f"{file}, line {line}: {name} is in line {first[name]} already")


def _check_rows(
    file: Path, wrong: Bool[np.ndarray, " n"], problem: str, values: Sequence[object] | np.ndarray
) -> None:
    """Raise ValueError for the first line that is wrong; its value is filled into `problem`."""
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{file}, line {row + 1}: {problem.format(values[row])}")
