"""MovieLens: ratings and attributes come from the files unchanged, and a bad line is named."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import recbole_movielens
from layouts import movielens as layout
from shell import Shell
from weakspot import Predictions
from weakspot.datasets.movielens import MovieLens


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    layout.write(data)
    return data / "movielens"


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(written, tmp_path / "movielens"))


def lines(root: Path, name: str) -> list[str]:
    return (root / "ml-100k" / name).read_text("latin-1").splitlines()


def rated(root: Path, name: str = "u.data") -> dict[str, int]:
    """Class indices by id, read directly from the file."""
    rows = (map(int, line.split("\t")) for line in lines(root, name))
    return {f"{user}-{movie}": rating - 1 for user, movie, rating, _ in rows}


def targets(dataset: MovieLens) -> dict[str, int]:
    return dict(zip(dataset.examples["id"].to_pylist(), dataset.targets.tolist(), strict=True))


@pytest.fixture(scope="module")
def everything(written: Path) -> list[dict[str, object]]:
    return [row for split in MovieLens.splits for row in MovieLens(split, written).examples.to_pylist()]


def test_every_rating_is_in_exactly_one_split(written: Path) -> None:
    train, val, test = (targets(MovieLens(split, written)) for split in MovieLens.splits)
    assert train | val | test == rated(written)
    assert len(train) + len(val) + len(test) == len(rated(written))
    assert len(test) / len(rated(written)) == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize("fold", [1, "1"])
def test_published_folds(written: Path, fold: int | str) -> None:
    train, val, test = (targets(MovieLens(split, written, fold)) for split in MovieLens.splits)
    assert test == rated(written, "u1.test")
    assert train | val == rated(written, "u1.base")
    assert 0 < len(val) < len(train)


def test_files_may_be_in_root_itself(written: Path) -> None:
    inside = MovieLens("test", written / "ml-100k")
    assert inside.fingerprint() == MovieLens("test", written).fingerprint()


def test_inputs_and_known_ratings_come_from_the_files(written: Path) -> None:
    train, test = MovieLens("train", written), MovieLens("test", written)
    for dataset in (train, test):
        batch = dataset.collate([dataset[row] for row in range(len(dataset))])
        pairs = zip(*(batch["input"][name].tolist() for name in ("user", "movie")), strict=True)
        ids = [f"{user + 1}-{movie + 1}" for user, movie in pairs]  # the layout numbers both from 1
        assert dict(zip(ids, batch["target"].tolist(), strict=True)) == targets(dataset)
        known = zip(
            *(batch["input"][f"known_{name}"].tolist() for name in ("user", "movie", "rating")), strict=True
        )
        assert {f"{user + 1}-{movie + 1}": rating for user, movie, rating in known} == targets(train)
        parts = batch["input"]["part"]
        assert (parts == (batch["input"]["known_part"] if dataset is train else -1)).all()
        assert 5 < len(batch["input"]["known_part"].unique()) <= 10


def test_attributes_of_users(everything: list[dict[str, object]]) -> None:
    said = {line.split("|")[0]: line.split("|")[1:4] for line in layout.USERS}
    for row in everything:
        if row["user"] in said:
            assert [str(row["age"]), row["gender"], row["occupation"]] == said[str(row["user"])]
    groups = {row["user"]: row["age_group"] for row in everything}
    assert [groups[str(user)] for user in range(1, 5)] == ["18 to 24", "50 to 55", "under 18", "56 and over"]
    assert {groups["7"], groups["17"]} == {"25 to 34", "35 to 44"}  # at their lower edges: 25 and 35


def test_attributes_of_movies(everything: list[dict[str, object]]) -> None:
    about = {row["movie"]: row for row in everything}
    for title, _, _, genres in layout.MOVIES:
        named = {"unknown genre" if name == "unknown" else name for name in genres}
        assert {name for name, value in about[title].items() if value is True} == named
    years = {title: (about[title]["year"], about[title]["decade"]) for title, *_ in layout.MOVIES}
    assert years == {
        "Toy Story (1995)": (1995, "1990s"),
        '"Heat" (1968)': (1968, "1960s"),
        "Misérables, Les (1995)": (1995, "1990s"),
        "Land Before Time III (1995) (V)": (1995, "1990s"),
        "Year of the Release": (1996, "1990s"),
        "unknown": (None, None),
    }


def test_a_byte_order_mark_is_not_part_of_a_genre(root: Path) -> None:
    file = root / "ml-100k" / "u.genre"
    genres = MovieLens("test", root).genres
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert MovieLens("test", root).genres == genres


def test_counts_of_ratings_are_those_of_the_training_split(written: Path) -> None:
    known = [pair.split("-") for pair in targets(MovieLens("train", written))]
    for row in MovieLens("test", written).examples.to_pylist():
        user, movie = row["id"].split("-")
        assert row["user_ratings"] == sum(user == other for other, _ in known)
        assert row["movie_ratings"] == sum(movie == other for _, other in known)


def test_preview_is_readable(written: Path) -> None:
    dataset = MovieLens("train", written)
    ids = dataset.examples["id"].to_pylist()
    row = next(row for row, text in enumerate(ids) if text.split("-")[1] == "1")
    user = int(ids[row].split("-")[0])
    seen = dataset.preview(row)
    assert seen["movie"] == "Toy Story (1995)"
    assert seen["year"] == 1995
    assert seen["genres"] == "Animation, Children's, Comedy"
    assert [seen["user"], str(seen["age"]), seen["gender"], seen["occupation"]] == lines(written, "u.user")[
        user - 1
    ].split("|")[:4]
    assert seen["rating"] == str(rated(written)[ids[row]] + 1)


def test_fingerprint_depends_on_every_known_rating(root: Path) -> None:
    before = MovieLens("test", root).fingerprint()
    changed = lines(root, "u.data")
    train = set(targets(MovieLens("train", root)))
    place = next(n for n, line in enumerate(changed) if "-".join(line.split("\t")[:2]) in train)
    user, movie, rating, time = changed[place].split("\t")
    changed[place] = "\t".join([user, movie, str(1 + int(rating) % 5), time])
    layout.put(root / "ml-100k" / "u.data", changed)
    assert MovieLens("test", root).fingerprint() != before


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("u.data", 3, "1\t2\t3", "u.data, line 3 cannot be read as CSV: Expected 4 columns, got 3"),
        ("u.data", 2, "", "u.data, line 2 cannot be read as CSV: .*invalid value ''"),
        ("u.data", 5, "1\ttwo\t3\t4", "u.data, line 5 cannot be read as CSV: .*invalid value 'two'"),
        ("u.data", 4, "1\t2\t3.5\t4", "u.data, line 4 cannot be read as CSV: .*invalid value '3.5'"),
        ("u.data", 7, "1\t2\t6\t4", "u.data, line 7: the rating is 6, not one of 1, 2, 3, 4, 5"),
        ("u.data", 1, "1\t99\t5\t4", "u.data, line 1: movie 99 has no entry in u.item"),
        ("u.data", 9, "77\t1\t5\t4", "u.data, line 9: user 77 has no entry in u.user"),
        ("u.user", 2, "2|old|F|other|94043", "u.user, line 2 cannot be read as CSV: .*invalid value 'old'"),
        ("u.user", 2, "1|53|F|other|94043", "u.user, line 2: 1 is in line 1 already"),
        ("u.item", 6, "6|unknown||", "u.item, line 6 cannot be read as CSV: Expected 24 columns, got 4"),
        (
            "u.item",
            6,
            "6|x||||" + "|".join("0020000000000000000"),
            "u.item, line 6: 'Adventure' is 2, not 0 or 1",
        ),
        ("u.genre", 2, "Action", r"u.genre, line 2: expected a genre, \| and 1, not 'Action'"),
        ("u.genre", 3, "Adventure|3", r"u.genre, line 3: expected a genre, \| and 2"),
    ],
)
def test_a_bad_line_is_named(root: Path, name: str, line: int, text: str, message: str) -> None:
    changed = lines(root, name)
    changed[line - 1] = text
    layout.put(root / "ml-100k" / name, changed)
    with pytest.raises(ValueError, match=message):
        MovieLens("test", root)


def test_a_pair_that_is_rated_twice_is_refused(root: Path) -> None:
    changed = lines(root, "u.data")
    layout.put(root / "ml-100k" / "u.data", [*changed, changed[4]])
    with pytest.raises(ValueError, match=f"line {len(changed) + 1}: .* is in line 5 already"):
        MovieLens("test", root)


def test_a_fold_with_a_pair_in_both_files_is_refused(root: Path) -> None:
    layout.put(root / "ml-100k" / "u1.test", [*lines(root, "u1.test"), lines(root, "u1.base")[0]])
    number = len(lines(root, "u1.test"))
    with pytest.raises(ValueError, match=rf"u1.test, line {number}: .* is in u1.base, too"):
        MovieLens("test", root, fold=1)


@pytest.mark.parametrize("name", ["u.data", "u.item", "u.genre"])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    file = root / "ml-100k" / name
    file.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is no {file}")):
        MovieLens("test", root)


def test_missing_data_and_unknown_folds_are_refused(written: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no u.user in .*fetch ml-100k.zip"):
        MovieLens("test", tmp_path)
    with pytest.raises(ValueError, match="no fold 6; choose 1, 2, 3, 4, 5, ua, ub"):
        MovieLens("test", written, fold=6)
    with pytest.raises(FileNotFoundError, match=r"there is no .*u2\.base"):
        MovieLens("test", written, fold=2)


def test_a_movies_year_is_the_last_in_its_title(root: Path) -> None:
    changed = lines(root, "u.item")
    changed[0] = changed[0].replace("Toy Story (1995)", "2001: A Space Odyssey (1500) (1968)")
    layout.put(root / "ml-100k" / "u.item", changed)
    about = {row["movie"]: row for row in MovieLens("train", root).examples.to_pylist()}
    assert about["2001: A Space Odyssey (1500) (1968)"]["year"] == 1968


@pytest.mark.slow
@pytest.mark.optional
def test_real_ratings_are_predicted_better_than_by_user_and_movie_means(shell: Shell) -> None:
    """All of MovieLens-100k with the entry point's default settings; takes minutes."""
    source = recbole_movielens.find()
    if source is None:
        pytest.skip("the ratings come with RecBole: install it, or name its wheel in WEAKSPOT_RECBOLE")
    data = shell.folder / "data"
    recbole_movielens.write(source, data / "movielens")
    train, test = (MovieLens(split, data / "movielens") for split in ("train", "test"))
    assert len(train) + len(MovieLens("val", data / "movielens")) + len(test) == 100_000

    shell("infer", "dataset=movielens", "logger=none", "trainer=cpu", DATA_DIR=str(data))
    (folder,) = shell.folder.glob("outputs/predictions/movielens-*")
    predictions = Predictions.load(folder)
    assert predictions.ids.tolist() == test.examples["id"].to_pylist()
    outputs = np.asarray(predictions.outputs, dtype=np.float64)
    shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    expected = shares @ np.arange(5) / shares.sum(axis=1)
    assert rmse(expected, test) < 0.94 < rmse(means(train, test), test)
    assert np.mean(predictions.losses) < 1.25


def rmse(guesses: np.ndarray, dataset: MovieLens) -> float:
    return float(np.sqrt(np.mean((guesses - dataset.targets) ** 2)))


def means(train: MovieLens, test: MovieLens) -> np.ndarray:
    """The sum of the user's and the movie's mean in training minus the overall mean, clipped to the ratings' range."""
    overall = train.targets.mean()
    guesses = np.full(len(test), overall)
    for known, asked in ((train.users, test.users), (train.movies, test.movies)):
        n = 1 + max(known.max(), asked.max())
        sums = np.bincount(known, train.targets - overall, minlength=n)
        guesses += (sums / np.bincount(known, minlength=n).clip(1))[asked]
    return guesses.clip(0, 4)
