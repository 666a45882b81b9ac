"""Sparse memberships give the same results as the dense array, in a fraction of its memory."""

from __future__ import annotations

import tracemalloc
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from weakspot import UDIS, Findings, Predictions, Slices
from weakspot.methods import apply, weights_of
from weakspot.slices import Memberships, record, scatter_memberships
from weakspot.slices.statistics import describe


def soft(k: int, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((k, n)) * (rng.random((k, n)) < 0.1)


def predictions(n: int, seed: int = 0) -> Predictions:
    """Two labels; in two of eight places the model is mostly wrong."""
    rng = np.random.default_rng(seed)
    places, labels = rng.integers(8, size=n), rng.integers(2, size=n)
    wrong = rng.random(n) < np.where(places < 2, 0.8, 0.1)
    x = rng.normal(size=(8, 6))[places] * 5 + rng.normal(size=(n, 6))
    return Predictions.from_arrays(
        embeddings=x, labels=labels, predictions=labels ^ wrong, losses=wrong + 0.1 * rng.random(n)
    )


def udis_slices(p: Predictions, weights: np.ndarray | Memberships) -> Slices:
    return Slices("udis", p.ids, weights, describe(weights, p))


@pytest.mark.parametrize("k", [0, 1, 5])
def test_memberships_are_read_like_the_array(k):
    array = soft(k, 40)
    m = Memberships.of_rows(iter(array), 40)
    some = np.random.default_rng(1).random(40) < 0.5
    assert m.shape == array.shape
    assert len(m) == k
    assert_array_equal(m, array)
    assert [row.tolist() for row in m] == array.tolist()
    for rows in (some, np.flatnonzero(some), np.array([7, 3, 3]), slice(5, 30)):
        assert isinstance(m[:, rows], Memberships)
        assert_array_equal(m[:, rows], array[:, rows])
    assert_array_equal(m.sum(axis=1), array.sum(axis=1))
    assert_array_equal(m > 0.5, array > 0.5)
    assert_array_equal(m @ np.ones(40), array @ np.ones(40))
    assert_array_equal(1 - m.T, 1 - array.T)
    assert_array_equal(copy(m), array)
    for j in range(-k, k):
        assert_array_equal(m[j], array[j])
    with pytest.raises(IndexError):
        m[k]


def test_clusters_and_scattered_rows_equal_the_array():
    rng = np.random.default_rng(0)
    rows, labels, found = np.sort(rng.permutation(60)[:50]), rng.integers(6, size=50), np.array([9, 4, 0])
    array = np.zeros((3, 60))
    array[:, rows] = labels == found[:, None]
    m = Memberships.of_clusters(found, labels, rows, 60)
    assert_array_equal(m, array)

    own, at = soft(3, 20, seed=1), rng.permutation(60)[:20]
    array[:, at] = own
    assert_array_equal(scatter_memberships(Memberships.of_rows(own, 20), at, m), array)
    assert_array_equal(scatter_memberships(own, at, np.asarray(m)), array)


def test_files_have_the_same_content_and_are_read_back_unchanged(tmp_path, monkeypatch):
    p = predictions(100)
    array = soft(20, 100)
    dense, sparse = udis_slices(p, array), udis_slices(p, Memberships.of_rows(array, 100))
    dense.save(tmp_path / "dense")
    sparse.save(tmp_path / "sparse")
    assert (tmp_path / "dense" / "weights.parquet").read_bytes() == (
        tmp_path / "sparse" / "weights.parquet"
    ).read_bytes()
    monkeypatch.setattr(record, "_CELLS", 320)  # sixteen rows, three slices at a time
    sparse.save(tmp_path / "blocks")
    for name, kind in {"dense": np.ndarray, "sparse": Memberships, "blocks": Memberships}.items():
        loaded = Slices.load(tmp_path / name)
        assert isinstance(loaded.weights, kind)
        assert loaded.equals(dense)
        assert dense.equals(loaded)
    assert not loaded.equals(udis_slices(p, array * 0.5))


@pytest.mark.parametrize("confirm", ["held", "other", None])
def test_findings_equal_those_of_the_array(confirm):
    p, other = predictions(600), predictions(500, seed=1)
    slices = UDIS(min_cluster_size=10, max_cluster_size=150).fit(p).slices_
    assert isinstance(slices.weights, Memberships)
    assert len(slices)
    dense = replace(slices, weights=np.asarray(slices.weights))
    held = {"held": np.arange(600) % 2 == 0, "other": other, None: None}[confirm]
    one, two = (replace(Findings.build(p, each, confirm=held), created="now") for each in (slices, dense))
    assert one.findings
    assert one.equals(two)


@pytest.mark.parametrize("settings", [{}, {"members": "distance"}, {"category": 1}])
def test_weights_of_new_examples_are_the_same_by_slice_and_by_example(settings):
    p, other = predictions(300), predictions(200, seed=1)
    slices = UDIS(max_cluster_size=60, **settings).fit(p).slices_
    assert len(slices)
    assert isinstance(weights_of(slices, other), np.ndarray if "members" in settings else Memberships)
    assert_array_equal(np.asarray(weights_of(slices, other)).T, apply(slices, other))


def test_hundreds_of_clusters_are_never_held_as_a_whole_array(tmp_path, monkeypatch):
    """Measures what Python allocates; Arrow's tables are only as large as what is read or written at a time."""
    n, k = 20_000, 300
    labels = np.random.default_rng(0).integers(k, size=n)
    p = predictions(n)
    monkeypatch.setattr(record, "_CELLS", 2**18)
    tracemalloc.start()
    slices = udis_slices(p, Memberships.of_clusters(np.arange(k), labels, np.arange(n), n))
    loaded = Slices.load(slices.save(tmp_path / "slices"))
    assert loaded.equals(slices)
    Findings.build(p, loaded)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < k * n * 8 / 2


def test_memberships_are_read_only():
    sparse = Memberships(csr_array(np.eye(2, 3)))
    with pytest.raises(TypeError):
        np.add(sparse, 1, out=sparse)
    assert (sparse.ndim, sparse.dtype) == (2, np.float64)
    assert not hasattr(sparse, "columns")
    assert isinstance(sparse[:, [0, 2]], Memberships)
    with pytest.raises(ValueError, match="always a copy"):
        np.array(sparse, copy=False)
