"""What is compared: the methods of this project, simple baselines, and the ceiling to measure against."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import softmax
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.mixture import GaussianMixture

from planted.cases import Case
from planted.domino_authors import CHECKOUT, domino_authors
from weakspot.methods import find, words
from weakspot.predictions import Predictions

Contender = Callable[[Case, int], Float[np.ndarray, "m k"]]
_SLICES = 5
_CEILING = 32  # principal components in which the ceiling's discriminant is fitted


def of_method(word: str, **settings: Any) -> Contender:
    """Return a contender that fits a method of this project on val, and takes its own scores of test examples."""

    def run(case: Case, seed: int) -> np.ndarray:
        method = find(word)
        known = method._get_param_names()
        more = {"seed": seed} if "seed" in known else {}
        fitted = method(**(more | settings)).fit(case.val)
        published = getattr(fitted, "published_scores", fitted.membership)  # these also read predictions
        return np.asarray(published(case.test), dtype=np.float64)

    return run


def probabilities_as_logits(contender: Contender) -> Contender:
    """Return a contender with a common misuse: probabilities are given as logits, so that softmax is taken twice."""

    def run(case: Case, seed: int) -> np.ndarray:
        val, test = (
            Predictions.from_arrays(
                p.embeddings,
                labels=p.labels,
                outputs=softmax(p.outputs, axis=1),
                task=p.task,
                outputs_are="logits",  # which they are not
            )
            for p in (case.val, case.test)
        )
        return contender(replace(case, val=val, test=test), seed)

    return run


def ceiling(case: Case, seed: int) -> np.ndarray:
    """Score by a discriminant of the true members against the others of their labels: what the embedding allows."""
    reduce, x = _reduced(case.val.embeddings)
    test = reduce(case.test.embeddings)
    found = []
    for inside in case.val_slices:
        labels = np.unique(case.val.labels[inside])
        rows, among = np.isin(case.val.labels, labels), np.isin(case.test.labels, labels)
        fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x[rows], inside[rows])
        found.append(np.where(among, fitted.predict_proba(test)[:, 1], -1.0))
    return np.stack(found, axis=1)


def random_scores(case: Case, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((len(case.test), _SLICES))


def top_loss(case: Case, seed: int) -> np.ndarray:
    """Score by the losses of the test examples themselves."""
    return np.asarray(case.test.losses)[:, None]


def confusion(case: Case, seed: int) -> np.ndarray:
    """Score by the largest off-diagonal cells of the confusion matrix, the least confident examples first."""
    val, test, c = case.val, case.test, case.val.outputs.shape[1]
    cells = val.labels * c + val.outputs.argmax(axis=1)
    sizes = np.bincount(cells[cells // c != cells % c], minlength=c * c)
    largest = np.argsort(-sizes, kind="stable")[:_SLICES]
    here = test.labels * c + test.outputs.argmax(axis=1)
    probability = softmax(test.outputs, axis=1)[np.arange(len(test)), test.labels]
    return np.stack([np.where(here == cell, 2 - probability, -probability) for cell in largest], axis=1)


def k_means(case: Case, seed: int) -> np.ndarray:
    """Score by the five of ten clusters with the highest mean loss, the nearest members first."""
    fitted = KMeans(10, n_init=4, random_state=seed).fit(case.val.embeddings)
    worst = _worst(np.eye(10)[fitted.labels_], case)
    return np.asarray(-fitted.transform(case.test.embeddings)[:, worst])


def mixture(case: Case, seed: int) -> np.ndarray:
    """Score by the five of 25 components of a Gaussian mixture in 32 dimensions with the highest mean loss."""
    reduce, x = _reduced(case.val.embeddings)
    fitted = GaussianMixture(25, covariance_type="diag", random_state=seed, reg_covar=1e-4).fit(x)
    worst = _worst(fitted.predict_proba(x), case)
    return np.asarray(fitted.predict_proba(reduce(case.test.embeddings))[:, worst])


def _worst(memberships: np.ndarray, case: Case) -> np.ndarray:
    mean = (memberships.T @ np.asarray(case.val.losses)) / np.maximum(memberships.sum(axis=0), 1e-9)
    return np.argsort(-mean, kind="stable")[:_SLICES]


def _reduced(x: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    rank = int(np.linalg.matrix_rank(x - x.mean(axis=0)))  # units of a network may be dead
    pca = PCA(min(_CEILING, rank), random_state=0).fit(x)
    return pca.transform, pca.transform(x)


def contenders() -> dict[str, Contender]:
    """Return all rows of the table, by name."""
    found: dict[str, Contender] = {
        "ceiling": ceiling,
        "random": random_scores,
        "top_loss": top_loss,
        "confusion": confusion,
        "kmeans": k_means,
        "gmm": mixture,
        "spotlight search=published": of_method("spotlight", search="published"),
        "spotlight, loss=residual": of_method("spotlight", search="published", loss="residual"),
        "spotlight, labels=within": of_method("spotlight", search="published", labels="within"),
        "spotlight, members=discriminant": of_method("spotlight", search="published", members="discriminant"),
        "spotlight, all three": of_method(
            "spotlight", search="published", labels="within", loss="residual", members="discriminant"
        ),
        "spotlight, 5 steps": of_method("spotlight", search="published", steps=5),
        "spotlight, 1000 steps": of_method("spotlight", search="published", steps=1000),
        "spotlight, probabilities as logits": probabilities_as_logits(
            of_method("spotlight", search="published")
        ),
        "domino, weights 1": of_method("domino", label_weight=1.0, prediction_weight=1.0),
        "domino, softmax twice": probabilities_as_logits(of_method("domino")),
        "scan, four sizes": of_method("scan", sizes=(20, 40, 80, 160)),
        "udis, members=distance": of_method("udis", members="distance"),
    }
    if CHECKOUT in os.environ:
        found["domino, authors' code"] = domino_authors
    elsewhere = ("spotlight", "rules")  # the first is in the table already; the second needs attributes
    return found | {word: of_method(word) for word in words() if word not in (*found, *elsewhere)}
