"""Stability: whether refits find the slices of a fit again, in any order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from weakspot import Predictions
from weakspot.evaluation import stability

CENTRES = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])


def record(n: int = 600) -> Predictions:
    random = np.random.default_rng(0)
    groups = np.arange(n) % 3
    return Predictions.from_arrays(
        CENTRES[groups] + 0.3 * random.normal(size=(n, 2)), losses=random.random(n)
    )


def near(centres: np.ndarray, p: Predictions) -> np.ndarray:
    """Membership is 1 within a distance of 2."""
    distances = np.linalg.norm(p.embeddings[:, None] - centres, axis=2)
    return (distances < 2).astype(float)


def test_slices_found_again_in_another_order_are_fully_stable() -> None:
    sizes, calls = [], iter([[0, 1, 2], [2, 0, 1], [1, 2, 0]])

    def fit(p: Predictions) -> np.ndarray:
        sizes.append(len(p))
        return CENTRES[next(calls)]

    assert stability(fit, near, record(), refits=2, share=0.75) == [1.0, 1.0, 1.0]
    assert sizes == [600, 450, 450]


def test_a_slice_found_again_every_other_time_is_half_stable() -> None:
    calls = iter([[0, 1], [0, 1], [0, 2], [1, 0], [2, 0]])
    found = stability(lambda p: CENTRES[next(calls)], near, record(), refits=4)
    assert found == [1.0, 0.5]


def test_a_slice_without_a_match_is_not_stable() -> None:
    calls = iter([[0, 1, 2], [1]])
    assert stability(lambda p: CENTRES[next(calls)], near, record(), refits=1) == [0.0, 1.0, 0.0]
    nothing = iter([[0, 1], []])
    assert stability(lambda p: CENTRES[next(nothing)], near, record(), refits=1) == [0.0, 0.0]


def test_a_slice_without_held_out_rows_has_no_stability() -> None:
    far = np.array([[0.0, 0.0], [99.0, 99.0]])
    assert stability(lambda p: far, near, record(), refits=2) == [1.0, None]


def test_the_sum_of_memberships_sets_the_number_of_top_rows_compared() -> None:
    # the refit's memberships are a tenth as large, but its top rows are the same
    def graded(scale: float, p: Predictions) -> np.ndarray:
        distance = np.linalg.norm(p.embeddings, axis=1)
        return scale * np.maximum(0, 1 - distance / 2)[:, None]

    scales = iter([1.0, 0.1])
    assert stability(lambda p: next(scales), graded, record(), refits=1) == [1.0]


def test_random_slices_are_hardly_stable_and_a_seed_repeats_them() -> None:
    def found() -> list[float | None]:
        random = np.random.default_rng(1)
        return stability(
            lambda p: random.normal(size=(2, 2)), lambda at, p: (p.embeddings @ at.T > 2.5) * 1.0, record()
        )

    first = found()
    assert first == found()
    assert all(index is None or index < 0.6 for index in first)
    assert any(index is not None for index in first)


@pytest.mark.parametrize(("refits", "share"), [(0, 0.8), (5, 0.0), (5, 1.0), (5, 0.9999)])
def test_a_comparison_without_rows_or_refits_is_refused(refits: int, share: float) -> None:
    with pytest.raises(ValueError, match=f"{refits} refits on {share} of 600 rows"):
        stability(lambda p: CENTRES, near, record(), refits=refits, share=share)


def test_the_order_of_rows_changes_nothing() -> None:
    """The fit uses the mean of its rows, so it depends on which rows are drawn."""
    p = record()
    order = np.random.default_rng(3).permutation(len(p))

    def found(p: Predictions) -> list[float | None]:
        return stability(lambda part: part.embeddings.mean(axis=0)[None] + [[0.6, 0.6]], near, p, share=0.1)

    first = found(p)
    assert 0 < (first[0] or 0) < 1
    assert found(p.take(order)) == pytest.approx(first)
    renamed = replace(p, ids=np.array([f"other {name}" for name in p.ids]))
    assert found(renamed) != pytest.approx(first)
