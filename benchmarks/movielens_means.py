"""How well means alone predict MovieLens-100k: what a trained model must do better than.

python benchmarks/movielens_means.py data/movielens
"""

from __future__ import annotations

import sys

import numpy as np

from weakspot.datasets.movielens import MovieLens

RIDGE, ROUNDS = 5, 30


def main(root: str) -> None:
    train, test = MovieLens("train", root), MovieLens("test", root)
    n = 1 + max(dataset.users.max() for dataset in (train, test))
    m = 1 + max(dataset.movies.max() for dataset in (train, test))
    overall = train.targets.mean()
    above = train.targets - overall

    def means(values: np.ndarray, group: np.ndarray, size: int, ridge: float = 0.0) -> np.ndarray:
        return np.bincount(group, values, size) / np.maximum(np.bincount(group, minlength=size) + ridge, 1)

    def say(name: str, guesses: np.ndarray) -> None:
        rmse = np.sqrt(np.mean((np.clip(guesses, 0, 4) - test.targets) ** 2))
        print(f"{name:40} RMSE {rmse:.3f}")

    by_user, by_movie = means(above, train.users, n), means(above, train.movies, m)
    say("mean of all", np.full(len(test), overall))
    say("user's mean", overall + by_user[test.users])
    say("movie's mean", overall + by_movie[test.movies])
    say("user's + movie's - mean of all", overall + by_user[test.users] + by_movie[test.movies])
    of_user = np.zeros(n)
    for _ in range(ROUNDS):  # coordinate descent
        of_movie = means(above - of_user[train.users], train.movies, m, RIDGE)
        of_user = means(above - of_movie[train.movies], train.users, n, RIDGE)
    say(f"biases, ridge {RIDGE}", overall + of_user[test.users] + of_movie[test.movies])


if __name__ == "__main__":
    main(sys.argv[1])
