"""UDIS reads a count as that many copies of the example: the same cuts, scores and refusals as with the copies."""

from __future__ import annotations

import numpy as np
import pytest

from weakspot import UDIS, Predictions
from weakspot.methods.udis.cut import cut_at
from weakspot.methods.udis.cut_choice import cut_range
from weakspot.methods.udis.distances import CentredRows, squared_distances
from weakspot.methods.udis.micro_clusters import MicroClusters
from weakspot.methods.udis.silhouette import CutSequence
from weakspot.methods.udis.ward import to_ward_distances, ward


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 < done <= total


def predictions(x: np.ndarray, counts: object = None) -> Predictions:
    return Predictions.from_arrays(x, correct=np.arange(len(x)) % 2 > 0, counts=counts)


THREE = np.array([[0.0, 0.0], [1.0, 0.0], [2.5, 0.0]])


@pytest.mark.parametrize("search", ["exact", "published"])
@pytest.mark.parametrize("approximate", [None, 20])
def test_three_rows_of_count_ten_are_three_clusters(approximate: int | None, search: str) -> None:
    settings = {"approximate": approximate, "search": search}
    copies = UDIS(**settings).fit(predictions(np.repeat(THREE, 10, axis=0)))
    counted = UDIS(search=search).fit(predictions(THREE, [10, 10, 10]))
    assert copies.cut_ == counted.cut_ == 3
    assert copies.cut_scores_ == pytest.approx(counted.cut_scores_)
    assert counted.cut_scores_[3] == pytest.approx(1)


@pytest.mark.parametrize("approximate", [None, 200])
@pytest.mark.parametrize("places", [2, 10, 49])
def test_every_distinct_point_is_a_cluster_on_both_routes(places: int, approximate: int | None) -> None:
    x = np.repeat(np.random.default_rng(places).normal(size=(places, 3)), 20, axis=0)
    u = UDIS(approximate=approximate).fit(predictions(x))
    assert u.cut_ == places
    assert u.cut_scores_[places] == pytest.approx(1)
    assert len(np.unique(u.labels_[::20])) == places


def test_a_leaf_above_the_largest_size_is_found_at_the_finest_cut() -> None:
    """The largest number of clusters at which some cluster exceeds `largest` is then the number of leaves."""
    sizes = np.array([10.0, 10.0, 10.0, 10.0])
    points = CentredRows.about(np.zeros(1), np.array([[0.0], [1.0], [5.0], [7.0]]), "float64")
    squares = squared_distances(points, points)
    to_ward_distances(squares, sizes)
    linkage = ward(squares, sizes, quiet)
    assert cut_range(linkage, sizes, 5, 8) == (4, 4)
    assert cut_range(linkage, sizes, 5, 15) == (3, 4)
    assert cut_range(linkage, sizes, 15, 100) == (2, 2)
    assert cut_range(linkage, np.ones(4), 1, 100)[1] == 3  # four clusters of one have no silhouette


@pytest.mark.parametrize("approximate", ["auto", 3, 10])
@pytest.mark.parametrize("value", [1.0, 0.1, 1e5 / 3])
def test_equal_embeddings_are_refused_on_both_routes(value: float, approximate: object) -> None:
    p = predictions(np.full((60, 3), value))
    for cut in ("silhouette", 3):
        with pytest.raises(ValueError, match="all 60 embeddings are equal: there are no clusters"):
            UDIS(approximate=approximate, cut=cut).fit(p)


@pytest.mark.parametrize("search", ["exact", "published"])
@pytest.mark.parametrize("approximate", ["auto", 2, 3])
@pytest.mark.parametrize("largest", [1, 2, 3])
@pytest.mark.parametrize("smallest", [1, 2])
def test_a_handful_of_rows_gives_a_cut_or_a_clear_error(
    smallest: int, largest: int, approximate: object, search: str
) -> None:
    for n in range(2, 8):
        x = np.random.default_rng(n).normal(size=(n, 2))
        for counts in (None, np.full(n, 3), 1 + np.arange(n)):
            u = UDIS(smallest, largest, approximate=approximate, search=search)
            refusal = None
            try:
                u.fit(predictions(x, counts))
            except ValueError as error:
                refusal = str(error)
            if refusal is not None:
                assert "no cut of these" in refusal
                assert counts is None or counts.min() < smallest or isinstance(approximate, int)
                continue
            assert 2 <= u.cut_ == len(np.bincount(u.labels_, weights=counts)) <= n
            highest = max(u.cut_scores_.values())
            assert u.cut_scores_[u.cut_] == pytest.approx(highest) or search == "published"


def test_six_rows_of_sizes_one_and_two() -> None:
    x = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [9.1]])
    u = UDIS(min_cluster_size=1, max_cluster_size=2).fit(predictions(x))
    assert u.cut_ == 3
    assert u.labels_.tolist() == [u.labels_[0]] * 2 + [u.labels_[2]] * 2 + [u.labels_[4]] * 2


def test_shares_of_whole_sizes_are_not_rounded_up() -> None:
    """0.07 · 100 is 7.000000000000001 in floating point; a cluster of 7 still reaches that share."""
    x = np.repeat(np.array([[0.0], [10.0]]), [7, 93], axis=0)
    u = UDIS(min_cluster_size=0.07).fit(predictions(x))
    assert sorted(np.bincount(u.labels_)) == [7, 93]


@pytest.mark.parametrize("count", [1e300, 1e39, 1.1e12])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("approximate", [None, 3])
def test_extreme_counts_are_refused(count: float, dtype: str, approximate: int | None) -> None:
    """They once made Ward distances infinite, and the compiled merging then wrote outside its arrays."""
    p = Predictions(
        ids=np.arange(6).astype(str),
        embeddings=np.random.default_rng(0).normal(size=(6, 2)),
        correct=np.arange(6) > 2,
        counts=np.array([1, 1, 1, count, 1, 1]),
    )
    message = r"counts: row 3 \(id 3\) is 1.*e\+.*must lie between 1e-12 and 1e\+12"
    with pytest.raises(ValueError, match=message):
        UDIS(1, dtype=dtype, approximate=approximate).fit(p)
    with pytest.raises(ValueError, match=message):
        predictions(p.embeddings, p.counts)


def test_the_largest_counts_are_clustered() -> None:
    u = UDIS().fit(predictions(THREE, [1e12, 1e12, 1]))
    assert u.cut_ == 2
    assert len(set(u.labels_[1:])) == 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e37])
def test_compiled_merging_never_sees_values_that_are_not_finite(value: float, dtype: str) -> None:
    squares = np.ones((5, 5), dtype=dtype)
    squares[1, 3] = value if dtype == "float32" or not np.isfinite(value) else 1e307
    with pytest.raises(
        ValueError, match=rf"beyond what {dtype} holds; rescale the embeddings, or the counts"
    ):
        ward(squares, np.full(5, 100.0), quiet)


def test_a_sample_that_holds_every_row_weighs_them_by_their_counts() -> None:
    """Not a plain mean over distinct rows: a row of count 1000 is most of the score."""
    random = np.random.default_rng(2)
    x, counts = random.normal(size=(60, 2)), np.where(np.arange(60) == 7, 1000.0, 1.0)
    micro = MicroClusters.of(x, np.arange(60), counts, 20, 0, quiet)
    cut = cut_at(micro.linkage(quiet), 6)
    sequence = CutSequence.of(cut, np.bincount(cut.labels, weights=micro.sizes), 2)
    means, errors = micro.silhouettes(sequence.index_of_cluster[cut.labels[micro.labels]], sequence, quiet)
    repeated = np.repeat(np.arange(60), counts.astype(int))
    copies = MicroClusters(
        x[repeated],
        np.arange(len(repeated)),
        np.ones(len(repeated)),
        micro.mean,
        0,
        micro.labels[repeated],
        micro.centers,
        micro.sizes,
    )
    sampled, standard_errors = copies.silhouettes(
        sequence.index_of_cluster[cut.labels[copies.labels]], sequence, quiet
    )
    assert (errors == 0).all()
    assert (np.abs(sampled - means) < 4 * standard_errors + 1e-6).all()
