"""A small MovieLens as ml-100k.zip unpacks: no headers, Latin-1, tabs between numbers and bars elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
USERS = (
    "1|24|M|technician|85711",
    "2|53|F|other|94043",
    "3|17|M|student|T8H1N",  # some postcodes are Canadian
    "4|56|F|retired|05201",
)
MOVIES = (  # title, release date, address, genres
    ("Toy Story (1995)", "01-Jan-1995", "Toy%20Story%20(1995)", ("Animation", "Children's", "Comedy")),
    ('"Heat" (1968)', "01-Jan-1968", "Heat", ("Drama",)),
    ("Misérables, Les (1995)", "01-Jan-1995", "Mis%E9rables%2C%20Les%20%281995%29", ("Drama", "Musical")),
    ("Land Before Time III (1995) (V)", "01-Jan-1995", "Land", ("Animation", "Children's")),
    ("Year of the Release", "08-Mar-1996", "Year", ("Film-Noir", "Sci-Fi")),
    ("unknown", "", "", ("unknown",)),
)
N_USERS, N_MOVIES, SHARE = 24, 30, 0.6


def write(data: Path) -> None:
    folder = data / "movielens" / "ml-100k"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    users = [*USERS, *(f"{number}|{18 + number}|F|artist|10003" for number in range(5, N_USERS + 1))]
    movies = [*MOVIES, *((f"Film {n} (1994)", "01-Jan-1994", "", ("Drama",)) for n in range(7, N_MOVIES + 1))]
    rated = np.argwhere(rng.random((N_USERS, N_MOVIES)) < SHARE) + 1
    rng.shuffle(rated)
    ratings = [
        f"{user}\t{movie}\t{1 + (user + movie) % 5}\t{881250949 + place}"
        for place, (user, movie) in enumerate(rated)
    ]
    put(folder / "u.user", users)
    put(folder / "u.item", [_movie(number, *about) for number, about in enumerate(movies, start=1)])
    put(folder / "u.genre", [*(f"{name}|{place}" for place, name in enumerate(GENRES)), ""])
    put(folder / "u.data", ratings)
    put(folder / "u1.base", ratings[: len(ratings) // 5 * 4])
    put(folder / "u1.test", ratings[len(ratings) // 5 * 4 :])


def put(file: Path, lines: list[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="latin-1")


def _movie(number: int, title: str, release: str, address: str, genres: tuple[str, ...]) -> str:
    link = f"http://us.imdb.com/M/title-exact?{address}" if address else ""
    return "|".join(
        [str(number), title, release, "", link, *("1" if name in genres else "0" for name in GENRES)]
    )
