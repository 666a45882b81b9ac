"""Ward, the cuts and their silhouettes, against scikit-learn, SciPy and published runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.cluster.hierarchy import is_valid_linkage, leaders
from scipy.cluster.hierarchy import ward as scipy_ward
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import silhouette_samples, silhouette_score

from paths import FIXTURES, ROOT
from weakspot.methods.udis.cut import cut_at
from weakspot.methods.udis.cut_choice import best_cut, cut_range, hill_climb
from weakspot.methods.udis.distances import CentredRows, squared_distances
from weakspot.methods.udis.matrix_leaves import MatrixLeaves
from weakspot.methods.udis.micro_clusters import MicroClusters
from weakspot.methods.udis.silhouette import CutSequence

GOLDEN = [FIXTURES / "udis_0.npz", FIXTURES / "udis_1.npz"]


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 < done <= total


def examples(x: np.ndarray, counts: np.ndarray | None = None, dtype: str = "float64") -> MatrixLeaves:
    counts = np.ones(len(x)) if counts is None else np.asarray(counts, dtype=float)
    return MatrixLeaves.of(x, np.arange(len(x)), counts, dtype, quiet)


def linkage(leaves: MatrixLeaves) -> np.ndarray:
    return leaves.linkage(quiet)


def scores(leaves: MatrixLeaves, merges: np.ndarray, low: int, high: int) -> dict[int, float]:
    cut = cut_at(merges, high)
    sequence = CutSequence.of(cut, np.bincount(cut.labels, weights=leaves.sizes), low)
    means, _ = leaves.silhouettes(sequence.index_of_cluster[cut.labels], sequence, quiet)
    return dict(zip(range(high, low - 1, -1), means.tolist(), strict=True))


def groups(n: int, d: int, seed: int, offset: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return offset + (3 * random.normal(size=(12, d)))[random.choice(12, n)] + random.normal(size=(n, d))


@pytest.mark.parametrize(
    ("n", "d", "offset"), [(2, 3, 0), (3, 1, 0), (50, 2, 0), (700, 40, 0), (600, 8, 1e4)]
)
def test_merges_equal_scikit_learns(n: int, d: int, offset: float) -> None:
    x = groups(n, d, seed=n, offset=offset)
    merges = linkage(examples(x))
    assert_array_equal(merges[:, :2], AgglomerativeClustering().fit(x).children_)
    reference = scipy_ward(x)
    assert_allclose(merges[:, 2], reference[:, 2], rtol=1e-9)
    assert_array_equal(merges[:, 3], reference[:, 3])


def test_ward_leaves_the_lower_triangle_as_it_was() -> None:
    leaves = examples(groups(300, 5, seed=1))
    before = np.tril(leaves.squares).copy()
    linkage(leaves)
    assert_array_equal(np.tril(leaves.squares), before)


def test_distances_of_near_pairs_keep_their_digits() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 30))
    x[30:] = x[:30] + 1e-7 * random.normal(size=(30, 30))
    points = CentredRows.about(x.mean(axis=0), x, "float64")
    exact = ((x[:, None] - x) ** 2).sum(axis=2)
    assert_allclose(squared_distances(points, points), exact, rtol=1e-7)
    assert (np.diagonal(squared_distances(points, points)) == 0).all()


def test_counts_are_repeated_rows() -> None:
    x = groups(80, 4, seed=2)
    counts = np.random.default_rng(3).integers(1, 5, len(x))
    repeated = np.repeat(np.arange(len(x)), counts)
    once, many = examples(x, counts), examples(x[repeated])
    few, all_of_them = linkage(once), linkage(many)
    distinct = len(x) - 1
    assert_allclose(all_of_them[:-distinct, 2], 0, atol=1e-12)
    assert_allclose(few[:, 2], all_of_them[-distinct:, 2], rtol=1e-9)
    assert_array_equal(few[:, 3], all_of_them[-distinct:, 3])
    alike, twice = scores(once, few, 2, 30), scores(many, all_of_them, 2, 30)
    assert_allclose([alike[k] for k in twice], list(twice.values()), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "x",
    [
        np.zeros((40, 3)),
        np.repeat(np.eye(6), 9, axis=0),
        np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), axis=-1).reshape(-1, 2),
        np.cumsum(1.3 ** np.arange(80.0))[:, None],
    ],
    ids=["one point", "six points", "grid", "ever farther apart"],
)
def test_ties_and_chains_give_a_tree(x: np.ndarray, dtype: str) -> None:
    merges = linkage(examples(x, dtype=dtype))
    assert is_valid_linkage(merges)
    assert (np.diff(merges[:, 2]) >= 0).all()
    for k in (1, 2, 6, len(x)):
        cut = cut_at(merges, k)
        assert_array_equal(np.unique(cut.labels), np.arange(k))
        assert_array_equal(np.sort(leaders(merges, cut.labels.astype(np.int32))[0]), cut.roots)


def test_cuts_equal_scikit_learns() -> None:
    x = groups(300, 6, seed=4)
    merges = linkage(examples(x))
    for k in (1, 2, 7, 40, 300):
        theirs = AgglomerativeClustering(n_clusters=k).fit_predict(x)
        pairs = set(zip(cut_at(merges, k).labels.tolist(), theirs.tolist(), strict=True))
        assert len(pairs) == k


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_published_runs(path: Path) -> None:
    golden = np.load(path)
    leaves = examples(golden["features"])
    merges = linkage(leaves)
    assert_array_equal(merges[:, :2], golden["children"])
    low, high = cut_range(merges, leaves.sizes, 5, 100)
    assert (low, high) == (golden["min_leaf_bound"], golden["max_leaf_bound"])
    found = scores(leaves, merges, low, high)
    assert_array_equal(sorted(found), golden["cut_sizes"])  # both ends included
    assert_allclose([found[k] for k in golden["cut_sizes"].tolist()], golden["cut_silhouettes"], atol=1e-7)
    assert best_cut(found) == golden["best_cut"]
    assert hill_climb(found) == golden["published_cut"]
    assert_array_equal(cut_at(merges, hill_climb(found)).labels, golden["published_labels"])


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_score_equals_scikit_learns(path: Path) -> None:
    x = np.load(path)["features"].astype(np.float64)
    leaves = examples(x)
    merges = linkage(leaves)
    found = scores(leaves, merges, *cut_range(merges, leaves.sizes, 5, 100))
    live = {k: silhouette_score(x, cut_at(merges, k).labels) for k in found}
    assert max(abs(found[k] - live[k]) for k in found) < 1e-9


def test_scores_of_the_whole_range_with_clusters_of_one_and_duplicates() -> None:
    x = np.round(groups(120, 2, seed=5), 0)
    leaves = examples(x)
    merges = linkage(leaves)
    found = scores(leaves, merges, 2, len(x) - 1)
    exact = np.sqrt(((x[:, None] - x) ** 2).sum(axis=2))
    for k, score in found.items():
        # scikit-learn's own distances are not zero between duplicates, so it gets the exact ones
        assert score == pytest.approx(
            silhouette_score(exact, cut_at(merges, k).labels, metric="precomputed"), abs=1e-12
        )


def test_bounds_that_cross_are_swapped() -> None:
    random = np.random.default_rng(6)
    x = np.concatenate([random.normal(size=(150, 3)), 300 * random.normal(size=(12, 3))])
    leaves = examples(x)
    merges = linkage(leaves)
    low, high = cut_range(merges, leaves.sizes, 5, 100)
    smallest, largest = (
        {k: size(np.bincount(cut_at(merges, k).labels)) for k in range(2, 162)} for size in (np.min, np.max)
    )
    assert low == max(k for k in smallest if smallest[k] >= 5)
    assert high == max(k for k in largest if largest[k] > 100)
    assert low < high


def test_bounds_follow_their_definition() -> None:
    for seed in range(20):
        x = groups(130, 3, seed)
        leaves = examples(x)
        merges = linkage(leaves)
        sizes = {k: np.bincount(cut_at(merges, k).labels) for k in range(1, 130)}
        most = max(k for k in sizes if sizes[k].min() >= 4)
        fewest = max([k for k in sizes if k > 2 and sizes[k].max() > 40], default=2)
        if most < 2:
            with pytest.raises(ValueError, match="lower min_cluster_size"):
                cut_range(merges, leaves.sizes, 4, 40)
        else:
            assert cut_range(merges, leaves.sizes, 4, 40) == (min(fewest, most), max(fewest, most))


def test_hill_climb_stops_at_a_local_maximum() -> None:
    low_peak = {2: 0.1, 3: 0.2, 4: 0.9, 5: 0.3, 6: 0.2, 7: 0.3, 8: 0.4, 9: 0.1, 10: 0.0}
    assert best_cut(low_peak) == 4
    assert hill_climb(low_peak) == 8
    assert hill_climb({5: 0.3}) == 5
    assert hill_climb({5: 0.3, 6: 0.3}) == 5
    assert hill_climb({5: 0.3, 6: 0.4}) == 6


def test_sampled_silhouettes_lie_within_their_error() -> None:
    x = groups(4000, 10, seed=7).astype(np.float32)
    micro = MicroClusters.of(x, np.arange(len(x)), np.ones(len(x)), 150, 0, quiet)
    merges = micro.linkage(quiet)
    cut = cut_at(merges, 20)
    sequence = CutSequence.of(cut, np.bincount(cut.labels, weights=micro.sizes), 5)
    means, errors = micro.silhouettes(sequence.index_of_cluster[cut.labels[micro.labels]], sequence, quiet)
    for k, mean, error in zip(range(20, 4, -1), means, errors, strict=True):
        each = silhouette_samples(x.astype(np.float64), cut_at(merges, k).labels[micro.labels])
        assert abs(mean - each.mean()) < 4 * error
        assert error == pytest.approx(each.std() / np.sqrt(512), rel=0.25)


def test_micro_clusters_recover_separated_groups() -> None:
    random = np.random.default_rng(8)
    truth = random.choice(9, 3000)
    x = (10 * random.normal(size=(9, 6)))[truth] + 0.1 * random.normal(size=(3000, 6))
    counts = random.integers(1, 4, 3000).astype(float)
    micro = MicroClusters.of(x, np.arange(3000), counts, 100, 0, quiet)
    labels = cut_at(micro.linkage(quiet), 9).labels[micro.labels]
    assert len(set(zip(labels.tolist(), truth.tolist(), strict=True))) == 9
    assert micro.sizes.sum() == counts.sum()
    for j in (0, 17):
        mine = micro.labels == j
        assert_allclose(micro.centers[j], np.average(x[mine], axis=0, weights=counts[mine]), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.optional  # a minute; other benchmarks run in CI
def test_the_benchmark_writes_its_tables_into_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmark -->\nold\n<!-- end of benchmark -->\nafter\n")
    script = ROOT / "benchmarks" / "udis.py"
    sizes = ["700x16", "--curve", "900x8", "--alone", "21000x8", "--agreement", "600x8"]
    subprocess.run([sys.executable, script, *sizes, "--docs", page], check=True, stdout=subprocess.DEVNULL)
    text = page.read_text()
    assert text.startswith("before\n<!-- benchmark -->\n\n| n × d |")
    assert text.endswith("<!-- end of benchmark -->\nafter\n")
    assert "old" not in text
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert {"700 × 16", "900 × 8", "21000 × 8", "600 × 8", "24 separate groups: 4000 micro-clusters"} <= set(
        rows
    )
    (exact,) = (line for line in text.splitlines() if line.startswith("| 24 separate groups: 4000"))
    assert set(exact.split("|")[2:-1]) == {" 1.000 "}  # more micro-clusters than examples: the exact route
