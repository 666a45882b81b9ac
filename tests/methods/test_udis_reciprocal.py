"""Exact UDIS without a distance matrix, against SciPy, scikit-learn, brute force and the route with one."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.cluster.hierarchy import is_valid_linkage
from scipy.cluster.hierarchy import ward as scipy_ward
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import silhouette_score

from paths import ROOT
from weakspot.methods.udis import candidates, distance_sums, matrix_free_leaves
from weakspot.methods.udis.candidates import NeighbourCandidates
from weakspot.methods.udis.cut import cut_at
from weakspot.methods.udis.matrix_free_leaves import MatrixFreeLeaves
from weakspot.methods.udis.matrix_leaves import MatrixLeaves
from weakspot.methods.udis.neighbours import singleton_means
from weakspot.methods.udis.reciprocal import merge_duplicates, reciprocal_ward
from weakspot.methods.udis.silhouette import CutSequence

CPU = torch.device("cpu")


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.fixture(params=[(8192, 1024), (64, 17), (7, 1000)], ids=["whole", "small", "narrow"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    tile, rows = request.param
    for module in (candidates, distance_sums):
        monkeypatch.setattr(module, "_TILE", tile)
    monkeypatch.setitem(candidates._QUERIES, "cpu", rows)
    monkeypatch.setitem(matrix_free_leaves._ROWS, "cpu", rows)
    return None


def rows(x: np.ndarray, counts: np.ndarray | None = None, dtype: str = "float64") -> MatrixFreeLeaves:
    return MatrixFreeLeaves(x, np.arange(len(x)), np.ones(len(x)) if counts is None else counts, dtype, CPU)


def groups(n: int, d: int, seed: int = 0, noise: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (3 * random.normal(size=(12, d)))[random.choice(12, n)] + noise * random.normal(size=(n, d))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("n", "d", "offset", "noise"),
    [
        (2, 3, 0, 1),
        (3, 1, 0, 1),
        (18, 2, 0, 1),
        (700, 40, 0, 1),
        (600, 8, 1e4, 1),
        (500, 300, 0, 1e-3),
    ],
)
@pytest.mark.usefixtures("blocks")
def test_merges_equal_scikit_learns(n: int, d: int, offset: float, noise: float, dtype: str) -> None:
    x = (offset + groups(n, d, n, noise)).astype(dtype)
    merges = rows(x).linkage(quiet)
    x = x.astype(np.float64)
    reference = scipy_ward(x - x.mean(axis=0))
    assert_allclose(merges[:, 2], reference[:, 2], rtol=1e-9)
    assert_array_equal(merges[:, :2], AgglomerativeClustering().fit(x - x.mean(axis=0)).children_)
    assert_array_equal(merges[:, 3], reference[:, 3])


@pytest.mark.parametrize(("n", "d"), [(3000, 64), (2000, 3)])
def test_merges_equal_those_of_the_matrix_route(n: int, d: int) -> None:
    x, counts = groups(n, d, seed=1), np.random.default_rng(2).integers(1, 40, n).astype(float)
    for sizes in (np.ones(n), counts):
        with_matrix = MatrixLeaves.of(x, np.arange(n), sizes, "float64", quiet).linkage(quiet)
        without = rows(x, sizes).linkage(quiet)
        assert_array_equal(without[:, [0, 1, 3]], with_matrix[:, [0, 1, 3]])
        assert_allclose(without[:, 2], with_matrix[:, 2], rtol=1e-9)


def test_half_precision_is_computed_in_float32(tmp_path) -> None:
    np.save(tmp_path / "x.npy", groups(90, 5).astype(np.float16))
    halves = np.load(tmp_path / "x.npy", mmap_mode="r")
    trees = [
        reciprocal_ward(x, np.arange(90), np.ones(90), CPU, quiet)
        for x in (halves, halves.astype(np.float32))
    ]
    assert_array_equal(*trees)


def test_only_the_audited_rows_are_clustered() -> None:
    x, some = groups(500, 5), np.flatnonzero(np.random.default_rng(1).random(500) < 0.3)
    merges = MatrixFreeLeaves(x, some, np.ones(len(some)), "float64", CPU).linkage(quiet)
    assert_array_equal(merges[:, :2], scipy_ward(x[some])[:, :2])


TIED = {
    "six points": np.repeat(np.eye(6), 9, axis=0),
    "three points, many times": np.repeat(np.array([[0.0, 1], [3, 1], [3, 2]]), 70, axis=0),
    "grid": np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), axis=-1).reshape(-1, 2),
    "line": np.arange(300.0)[:, None],
    "equidistant": np.eye(50),
    "corners": np.array([[int(bit) for bit in f"{i:07b}"] for i in range(128)], dtype=float),
    "ever farther apart": np.cumsum(1.3 ** np.arange(80.0))[:, None],
    "tied by rounding": groups(200, 6, noise=1e-7).astype(np.float32).astype(float),
    "all but tied": groups(200, 6, noise=1e-7),
    "hugely far apart": np.concatenate([np.arange(40.0), 1e12 + np.arange(40.0) ** 1.5])[:, None],
}


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("x", TIED.values(), ids=TIED)
@pytest.mark.parametrize("weighted", [False, True])
def test_merges_join_a_nearest_pair_despite_ties(x: np.ndarray, weighted: bool) -> None:
    sizes = 1.0 + np.arange(len(x)) % 3 if weighted else np.ones(len(x))
    merges = rows(x, sizes).linkage(quiet)
    if not weighted:
        assert is_valid_linkage(merges)
    assert (np.diff(merges[:, 2]) >= 0).all()
    means, size = dict(enumerate(x)), dict(enumerate(sizes.tolist()))
    for t, (a, b, height, total) in enumerate(merges.tolist()):
        alive = list(means)
        centres, weights = np.array([means[i] for i in alive]), np.array([size[i] for i in alive])
        harmonic = weights[:, None] * weights / (weights[:, None] + weights)
        squares = 2 * harmonic * ((centres[:, None] - centres) ** 2).sum(axis=2)
        np.fill_diagonal(squares, np.inf)
        i, j = alive.index(int(a)), alive.index(int(b))
        scale = float(np.abs(centres).max() ** 2 * weights.sum())
        assert squares[i, j] <= squares.min() * (1 + 1e-9) + 1e-24 * scale
        assert height == pytest.approx(np.sqrt(squares[i, j]), rel=1e-9, abs=1e-12 * scale**0.5)
        a_mean, b_mean, a_size, b_size = (
            means.pop(int(a)),
            means.pop(int(b)),
            size.pop(int(a)),
            size.pop(int(b)),
        )
        assert total == a_size + b_size
        means[len(x) + t], size[len(x) + t] = (a_size * a_mean + b_size * b_mean) / total, total


def test_counts_are_repeated_rows() -> None:
    x, counts = groups(80, 4, seed=2), np.random.default_rng(3).integers(1, 5, 80)
    few, many = (
        rows(x, counts.astype(float)).linkage(quiet),
        rows(np.repeat(x, counts, axis=0)).linkage(quiet),
    )
    assert (many[:-79, 2] == 0).all()
    assert_allclose(few[:, 2], many[-79:, 2], rtol=1e-12)
    assert_array_equal(few[:, 3], many[-79:, 3])


def test_copies_are_found_whatever_their_order() -> None:
    random = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        places = random.integers(0, 2, (40, 9)).astype(dtype)
        x = places[random.integers(40, size=500)]
        first, merges, total = merge_duplicates(x, np.arange(500), np.ones(500))
        assert_array_equal(np.sort(first), np.sort(np.unique(x, axis=0, return_index=True)[1]))
        assert total.sum() == 500
        assert len(first) + len(merges) == 500
        assert (x[merges[:, 0].astype(int)] == x[merges[:, 1].astype(int)]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1, 1e-3, 1e-6])
def test_bounds_hold_and_none_that_is_left_out_is_nearer(dtype: torch.dtype, spread: float) -> None:
    x = groups(400, 257, noise=spread)
    x[7] *= 1e6
    x[8] *= 1e-12
    sizes = np.random.default_rng(1).integers(1, 10**6, 400).astype(float)
    means, every = singleton_means(x, np.arange(400), sizes), np.arange(400)
    found, bounds = NeighbourCandidates(means, CPU).of(every[5:200], every, dtype)
    y = ((x - means.centre) * means.scale).astype(np.longdouble)
    for i, slots, least in zip(every[5:200], found, bounds, strict=True):
        exact = 2 * sizes[i] * sizes / (sizes[i] + sizes) * ((y - y[i]) ** 2).sum(axis=1)
        assert i not in slots
        assert (least <= exact[slots]).all()
        assert np.delete(exact, [i, *slots]).min() >= least.max()


def test_a_callers_matmul_precision_has_no_effect() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        test_bounds_hold_and_none_that_is_left_out_is_nearer(torch.float32, 1)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("dtype", "digits"), [("float64", 1e-12), ("float32", 1e-6)])
def test_every_score_equals_scikit_learns(dtype: str, digits: float) -> None:
    x = np.concatenate([groups(250, 6, seed=4), np.full((4, 6), 2.5)])
    leaves = rows(x, dtype=dtype)
    merges = leaves.linkage(quiet)
    cut = cut_at(merges, 60)
    sequence = CutSequence.of(cut, np.bincount(cut.labels).astype(float), 2)
    means, _ = leaves.silhouettes(sequence.index_of_cluster[cut.labels], sequence, quiet)
    exact = np.sqrt(((x[:, None] - x) ** 2).sum(axis=2))
    for k, mean in zip(range(60, 1, -1), means, strict=True):
        theirs = silhouette_score(exact, cut_at(merges, k).labels, metric="precomputed")
        assert mean == pytest.approx(theirs, abs=digits)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_scores_equal_those_of_the_matrix_route(dtype: str) -> None:
    x, counts = groups(600, 5, seed=6), np.random.default_rng(2).integers(1, 9, 600).astype(float)
    found = []
    for leaves in (rows(x, counts, dtype), MatrixLeaves.of(x, np.arange(600), counts, "float64", quiet)):
        cut = cut_at(leaves.linkage(quiet), 90)
        sequence = CutSequence.of(cut, np.bincount(cut.labels, weights=counts), 2)
        found.append(leaves.silhouettes(sequence.index_of_cluster[cut.labels], sequence, quiet)[0])
    assert_allclose(*found, atol=1e-12 if dtype == "float64" else 1e-6)


def test_means_need_no_more_memory_than_the_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (candidates, distance_sums):
        monkeypatch.setattr(module, "_TILE", 64)
    monkeypatch.setitem(candidates._QUERIES, "cpu", 64)
    x = groups(3000, 512).astype(np.float32)
    leaves = rows(x)
    leaves.linkage(quiet)  # compiles
    tracemalloc.start()
    leaves.linkage(quiet)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * x.nbytes  # float64 means of at most half as many clusters, and lists


def test_no_block_grows_with_n() -> None:
    """Torch's memory is visible only from outside; the matrix of the 8000 rows would take 512 MB."""
    script = (
        "import resource, sys; sys.path[:0] = ['tests/methods', 'tests/support']; import numpy as np\n"
        "import test_udis_reciprocal as t\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "t.fit(600); before = peak(); t.fit(8_000); print((peak() - before) * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    assert int(done.stdout) < 250e6


def fit(n: int) -> None:
    x = groups(n, 16).astype(np.float32)
    leaves = rows(x)
    cut = cut_at(leaves.linkage(quiet), n // 20)
    sequence = CutSequence.of(cut, np.bincount(cut.labels).astype(float), n // 25)
    leaves.silhouettes(sequence.index_of_cluster[cut.labels], sequence, quiet)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda x, counts: (np.where(np.arange(300)[:, None] == 217, 1e16, x), counts),
            "row 217 is too large",
        ),
        (lambda x, counts: (x, counts * 1e29), "the counts add up to 3e\\+31, more than 1e\\+30"),
    ],
)
def test_impossible_data_are_refused_before_the_tree_is_built(change, said):
    x, counts = change(np.random.default_rng(0).normal(size=(300, 4)), np.ones(300))
    leaves = MatrixFreeLeaves(x, np.arange(300), counts, "float32", torch.device("cpu"))
    steps: list[tuple] = []
    with pytest.raises(ValueError, match=said):
        leaves.linkage(lambda *step: steps.append(step))
    assert not steps
