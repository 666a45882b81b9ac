"""UDIS as users call it: what it finds, how it describes this, and how it refuses bad data."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import f1_score
from torch.nn.functional import binary_cross_entropy_with_logits

import weakspot
from clustered_predictions import multilabel, single_label
from paths import FIXTURES
from weakspot.methods import apply, audit_of
from weakspot.methods.udis import UDIS, estimator, membership
from weakspot.predictions import Predictions
from weakspot.slices import ClusterNode, Slices
from weakspot.slices.json_format import statistics_to_json, tree_to_json


@pytest.fixture(scope="module")
def fitted() -> tuple[UDIS, Predictions]:
    p = single_label()
    return UDIS().fit(p), p


@pytest.fixture(scope="module")
def audited() -> tuple[UDIS, Predictions]:
    p = multilabel()
    return UDIS(category="bed").fit(p), p


def rows_of(node: ClusterNode) -> list[int]:
    return [row for leaf in node.leaves() for row in leaf.members]


def test_the_planted_group_is_the_first_slice(fitted):
    u, p = fitted
    group = np.array(p.attributes["group"].to_pylist())
    inside = u.slices_.weights[0] == 1
    assert (group[inside] == "0").mean() > 0.95
    assert inside.sum() > 0.5 * (group == "0").sum()
    first = u.slices_.statistics[0]
    assert first.cluster.accuracy < 0.66 * p.accuracy
    assert first.cluster.top_attributes[0].name in {"group=0", "bright=True"}
    assert weakspot.UDIS is UDIS
    for j, statistics in enumerate(u.slices_.statistics):
        assert_array_equal(u.slices_.weights[j] == 1, u.labels_ == statistics.cluster.cluster)


@pytest.mark.parametrize("name", ["udis_0", "udis_1"])
def test_both_searches_on_published_runs(name):
    golden = np.load(FIXTURES / f"{name}.npz")
    p = Predictions.from_arrays(golden["features"], correct=np.arange(len(golden["features"])) % 3 > 0)
    exact, published = UDIS().fit(p), UDIS(search="published").fit(p)
    assert exact.cut_ == golden["best_cut"]
    assert published.cut_ == golden["published_cut"]
    assert_array_equal(published.labels_, golden["published_labels"])
    assert_array_equal(exact.linkage_[:, :2], golden["children"])
    assert list(exact.cut_scores_) == golden["cut_sizes"].tolist()


def test_a_given_number_of_clusters():
    p = single_label(300)
    u = UDIS(cut=9).fit(p)
    theirs = AgglomerativeClustering(n_clusters=9).fit_predict(p.embeddings)
    assert len(set(zip(u.labels_.tolist(), theirs.tolist(), strict=True))) == 9
    assert list(u.cut_scores_) == [9]


def test_every_node_summarises_its_members(fitted):
    u, p = fitted
    confidence = torch.from_numpy(p.outputs).float().softmax(dim=1).amax(dim=1).numpy()
    nodes = list(u.tree_.walk())
    assert len(nodes) > 2
    assert sorted(rows_of(u.tree_)) == list(range(len(p)))
    for node in nodes:
        rows = rows_of(node)
        wrong = [row for row in rows if not p.correct[row]]
        assert node.size == len(rows)
        assert node.wrong == len(wrong)
        assert node.accuracy == pytest.approx(p.correct[rows].mean())
        assert node.loss == pytest.approx(p.losses[rows].mean())
        assert node.confidence == pytest.approx(confidence[rows].mean())
        expected = f1_score(p.labels[rows], p.predictions[rows], average="weighted", zero_division=0)
        assert node.f1 == pytest.approx(expected)
        if wrong:
            assert node.wrong_confidence == pytest.approx(confidence[wrong].mean())
        else:
            assert node.wrong_confidence is None
            assert node.leaf  # pruned
        if node.leaf:
            assert_array_equal(node.wrong_members, wrong)
            assert set(u.labels_[rows]) == set(node.clusters)
            assert len(node.clusters) == 1 or not wrong
        for attribute in node.top_attributes:
            column, value = attribute.name.split("=") if "=" in attribute.name else (None, None)
            if column == "group":
                share = np.mean([p.attributes["group"][row].as_py() == value for row in rows])
                assert attribute.share == pytest.approx(share)
    assert not any("file" in attribute.name for node in nodes for attribute in node.top_attributes)


def test_node_ids_follow_the_linkage(fitted):
    u, p = fitted
    children = u.linkage_[:, :2].astype(int)
    for node in u.tree_.walk():
        assert u.linkage_[node.id - len(p), 3] == node.size
        if not node.leaf:
            assert [child.id for child in node.children] == children[node.id - len(p)].tolist()
    assert u.tree_.id == 2 * len(p) - 2


def test_failing_clusters_are_those_below_the_threshold_worst_first(fitted):
    u, p = fitted
    accuracy = np.bincount(u.labels_, weights=p.correct) / np.bincount(u.labels_)
    size = np.bincount(u.labels_)
    expected = {c for c in range(u.cut_) if size[c] > 5 and accuracy[c] < 0.66 * p.accuracy}
    found = [statistics.cluster.cluster for statistics in u.slices_.statistics]
    assert set(found) == expected
    assert [accuracy[c] for c in found] == sorted(accuracy[c] for c in found)
    assert {c for leaf in u.tree_.leaves() if leaf.failing for c in leaf.clusters} == expected
    stricter = UDIS(accuracy_threshold=1.0).fit(p)
    assert len(stricter.slices_) > len(u.slices_)
    assert len(UDIS(accuracy_threshold=1.0, metric="f1").fit(p).slices_) >= 1


def test_the_nearest_well_performing_clusters(fitted):
    u, p = fitted
    leaves = [leaf for leaf in u.tree_.leaves() if leaf.wrong == 0 and leaf.size > 5]
    means = np.array([p.embeddings[list(leaf.members)].mean(axis=0) for leaf in leaves])
    for statistics in u.slices_.statistics:
        mine = p.embeddings[u.labels_ == statistics.cluster.cluster].mean(axis=0)
        away = np.linalg.norm(means - mine, axis=1)
        nearest, other = statistics.cluster.nearest
        assert (nearest.sense, other.sense) == ("embedding", "attributes")
        assert nearest.node == leaves[away.argmin()].id
        assert nearest.distance == pytest.approx(away.min())
        assert nearest.accuracy == 1
        members = leaves[away.argmin()].members
        assert set(nearest.members) <= set(members)
        closest = np.linalg.norm(p.embeddings[list(members)] - mine, axis=1).argsort()[:64]
        assert nearest.members == tuple(members[i] for i in closest)
        assert other.node in {leaf.id for leaf in leaves}


def test_the_nearest_cluster_by_attributes_depends_on_attributes():
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 50)
    x = np.array([[0.0, 0], [30, 0], [90, 0], [300, 0]])[group] + random.normal(size=(200, 2))
    p = Predictions.from_arrays(x, correct=group != 0, attributes={"red": np.isin(group, [0, 3])})
    (failing,) = UDIS(cut=4).fit(p).slices_.statistics
    near = {found.sense: set(group[list(found.members)]) for found in failing.cluster.nearest}
    assert near == {"embedding": {1}, "attributes": {3}}


def test_an_audited_category(audited):
    u, p = audited
    inside = p.predictions[:, 2] == 1
    assert ((u.labels_ >= 0) == inside).all()
    assert len(u.linkage_) == inside.sum() - 1
    right = p.labels[:, 2] == 1
    assert u.tree_.accuracy == pytest.approx(right[inside].mean())
    probability = torch.from_numpy(p.outputs[:, 2]).float().sigmoid().numpy()
    assert u.tree_.confidence == pytest.approx(probability[inside].mean())
    for node in u.tree_.walk():
        rows = rows_of(node)
        assert node.accuracy == pytest.approx(right[rows].mean())
        for name, average in (("f1", "micro"), ("f1_macro", "macro")):
            expected = f1_score(p.labels[rows], p.predictions[rows], average=average, zero_division=0)
            assert getattr(node, name) == pytest.approx(expected)
        by_category = f1_score(p.labels[rows], p.predictions[rows], average=None, zero_division=0)
        assert node.f1_category == pytest.approx(by_category[2])
    assert len(u.slices_) >= 1
    for weights, statistics in zip(u.slices_.weights, u.slices_.statistics, strict=True):
        rows = weights == 1
        assert statistics.cluster.accuracy == pytest.approx(right[rows].mean())
        assert statistics.accuracy_inside == pytest.approx(right[rows].mean())
        first = statistics.cluster.co_predicted[0]
        assert first.name == "cup"
        assert first.share == pytest.approx(p.predictions[rows, 4].mean())
        assert "bed" not in {found.name for found in statistics.cluster.co_predicted}
        cells = {cell.label: cell.weight for cell in statistics.confusion}
        assert cells["not bed"] == (rows & ~right).sum()
    by_index = UDIS(category=2).fit(p)
    assert by_index.slices_.weights.tobytes() == u.slices_.weights.tobytes()
    found = u.membership(p)
    assert (found[~inside] == 0).all()


def test_a_category_is_audited_on_its_own(audited, tmp_path):
    u, p = audited
    inside, has = p.predictions[:, 2] == 1, p.labels[:, 2] == 1
    losses = binary_cross_entropy_with_logits(
        torch.from_numpy(p.outputs[:, 2]).double(), torch.from_numpy(has).double(), reduction="none"
    ).numpy()
    loaded = Slices.load(u.slices_.save(tmp_path / "slices"))
    for audit in (u.audited(p), audit_of(u.slices_, p), audit_of(loaded, p)):
        assert_array_equal(audit.rows, inside)
        assert_array_equal(audit.correct, has == inside)
        assert_allclose(audit.losses, losses, rtol=1e-6)
        assert audit.record.classes() == ("not bed", "bed")
        assert_array_equal(audit.record.labels, has)
        assert_array_equal(audit.record.predictions, inside)
    assert u.tree_.loss == pytest.approx(losses[inside].mean())
    for weights, statistics in zip(u.slices_.weights, u.slices_.statistics, strict=True):
        within, rest = weights == 1, inside & (weights == 0)
        assert statistics.share == within.sum() / inside.sum()
        assert statistics.loss_inside == pytest.approx(losses[within].mean())
        assert statistics.loss_inside == pytest.approx(statistics.cluster.loss)
        assert statistics.loss_outside == pytest.approx(losses[rest].mean())
        assert statistics.accuracy_outside == pytest.approx(has[rest].mean())
    assert_array_equal(apply(loaded, p), u.membership(p))
    assert (apply(loaded, p)[~inside] == 0).all()


def test_a_category_takes_its_loss_from_the_record(audited):
    p = audited[1]
    u = UDIS(category="bed")
    assert u.audited(replace(p, outputs=None)).losses is None
    unlabelled = u.audited(replace(p, labels=None, correct=None))
    assert (unlabelled.correct, unlabelled.losses) == (None, None)
    single = single_label(60)
    audit = UDIS(category="fox").audited(single)
    assert_array_equal(audit.losses, single.losses)
    assert_array_equal(audit.correct, (single.labels == 2) == (single.predictions == 2))
    with pytest.raises(ValueError, match="category='sofa' is not one of the classes"):
        UDIS(category="sofa").audited(p)


def test_a_class_of_a_single_label_task_can_be_audited_too():
    p = single_label()
    u = UDIS(category="fox", max_cluster_size=30).fit(p)
    assert ((u.labels_ >= 0) == (p.predictions == 2)).all()
    assert u.tree_.accuracy == pytest.approx((p.labels == 2)[p.predictions == 2].mean())


def test_counts_are_repeated_rows():
    p = single_label(250)
    counts = np.random.default_rng(5).integers(1, 4, 250)
    rows = np.repeat(np.arange(250), counts)
    weighted = Predictions.from_arrays(
        p.embeddings, labels=p.labels, outputs=p.outputs, counts=counts, attributes=p.attributes, task=p.task
    )
    once, many = UDIS().fit(weighted), UDIS().fit(p.take(rows))
    assert once.cut_ == many.cut_
    assert_allclose(
        [once.cut_scores_[k] for k in many.cut_scores_], list(many.cut_scores_.values()), atol=1e-9
    )
    assert_array_equal(once.slices_.weights[:, rows], many.slices_.weights)
    for a, b in zip(once.tree_.walk(), many.tree_.walk(), strict=True):
        for name in ("size", "wrong", "accuracy", "loss", "confidence", "f1"):
            assert getattr(a, name) == pytest.approx(getattr(b, name))


def test_the_order_of_rows_does_not_matter(fitted):
    u, p = fitted
    order = np.random.default_rng(3).permutation(len(p))
    again = UDIS().fit(p.take(order))
    assert again.cut_ == u.cut_
    assert_array_equal(again.slices_.weights, u.slices_.weights[:, order])
    assert_allclose(list(again.cut_scores_.values()), list(u.cut_scores_.values()), atol=1e-12)


def test_membership_is_by_the_nearest_centre_and_survives_files(fitted, tmp_path):
    u, p = fitted
    new = single_label(seed=0)  # the same groups
    other = np.random.default_rng(9).normal(size=(50, 10)) * 4
    loaded = Slices.load(u.slices_.save(tmp_path / "slices"))
    assert loaded.equals(u.slices_)
    found = membership(loaded, other)
    assert found.shape == (50, len(u.slices_))
    centers = np.array([p.embeddings[u.labels_ == c].mean(axis=0) for c in range(u.cut_)])
    nearest = np.linalg.norm(other[:, None] - centers, axis=2).argmin(axis=1)
    failing = [statistics.cluster.cluster for statistics in u.slices_.statistics]
    assert_array_equal(found, nearest[:, None] == failing)
    agreement = (u.slices_.weights == u.membership(new).T).mean()
    assert agreement > 0.97
    with pytest.raises(ValueError, match="10 dimensions"):
        membership(loaded, np.zeros((3, 4)))
    with pytest.raises(ValueError, match="not fitted"):
        UDIS().membership(p)


def test_a_record_opened_from_its_store_gives_the_same(audited, tmp_path):
    u, p = audited
    opened = Predictions.load(p.save(tmp_path / "record"))
    assert_array_equal(UDIS(category="bed", memory_limit=1e-9).fit(opened).slices_.weights, u.slices_.weights)
    again = UDIS(category="bed").fit(opened)
    assert_array_equal(again.slices_.weights, u.slices_.weights)
    assert again.slices_.equals(replace(u.slices_, provenance=again.slices_.provenance))


def test_the_tree_and_the_statistics_are_plain_values(fitted, audited):
    for u, _ in (fitted, audited):
        for part in (tree_to_json(u.tree_), statistics_to_json(u.slices_.statistics)):
            assert json.loads(json.dumps(part, allow_nan=False)) == _lists(part)


def _lists(value):
    """Turn tuples into lists, as JSON does."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_udis_is_a_scikit_learn_estimator(fitted):
    u, _ = fitted
    assert repr(UDIS(cut=7)) == "UDIS(cut=7)"
    copy = clone(UDIS(dtype="float32", category="bed"))
    assert copy.get_params()["dtype"] == "float32"
    assert not hasattr(clone(u), "slices_")
    assert u.slices_.provenance["settings"] == u.get_params()


def test_progress_is_reported_stage_by_stage():
    told = []
    UDIS().fit(single_label(300), callback=lambda stage, done, total: told.append((stage, done, total)))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["distances", "merging", "silhouettes"]
    for stage in stages:
        done = [done for name, done, _ in told if name == stage]
        assert done == sorted(done)
        assert done[-1] == next(total for name, _, total in told if name == stage)


def test_float32_gives_the_same_clusters_on_separated_groups(fitted):
    u, p = fitted
    half = UDIS(dtype="float32").fit(p)
    assert half.cut_ == u.cut_
    assert_array_equal(half.labels_ == half.labels_[0], u.labels_ == u.labels_[0])


def test_threads_change_nothing(monkeypatch):
    import numba

    p = single_label(400)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        results.append(UDIS().fit(p))
    assert results[0].cut_scores_ == results[1].cut_scores_
    assert results[0].slices_.equals(results[1].slices_)


def test_without_room_for_a_matrix_the_result_is_the_same(fitted, audited):
    for u, p in (fitted, audited):
        settings = u.get_params() | {"memory_limit": 1e-9}
        lean = UDIS(**settings).fit(p)
        assert lean.approximate_ is None
        assert_array_equal(lean.linkage_[:, [0, 1, 3]], u.linkage_[:, [0, 1, 3]])
        assert lean.cut_scores_ == pytest.approx(u.cut_scores_, abs=1e-12)
        assert_array_equal(lean.labels_, u.labels_)
        assert_array_equal(lean.slices_.weights, u.slices_.weights)


def test_cost_decides_the_route_and_is_reported(fitted, monkeypatch):
    u, p = fitted
    near = UDIS(approximate=300).fit(p)
    assert near.approximate_ == 300
    assert near.linkage_.shape[1] == 4
    assert abs(len(near.linkage_) - 300) < 10
    assert near.linkage_[-1, 3] == len(p)
    assert max(near.cut_scores_) <= 24  # finer cuts are too far from the exact ones
    assert near.cut_errors_.keys() == near.cut_scores_.keys()
    assert "approximate" in near.slices_.provenance["notes"][0]
    assert (near.slices_.weights[0] * u.slices_.weights[0]).sum() > 0.8 * u.slices_.weights[0].sum()
    assert sorted(rows_of(near.tree_)) == list(range(len(p)))
    big = Predictions.from_arrays(np.repeat(p.embeddings, 6, axis=0), correct=np.repeat(p.correct, 6))
    monkeypatch.setitem(estimator._MAX_EXACT_STEPS, "cpu", 1e6)
    with pytest.warns(UserWarning, match=r"5400 examples .* 2.9e\+08 steps .* 4000 micro-clusters are"):
        assert UDIS(memory_limit=0.1).fit(big).approximate_ == 4000
    assert UDIS(memory_limit=0.1, approximate=None).fit(big).approximate_ is None
    assert UDIS(memory_limit=1).fit(big).approximate_ is None  # the matrix fits
    assert UDIS(approximate=5000).fit(p).approximate_ is None  # every example could be its own micro-cluster
    again = UDIS(approximate=300).fit(p)
    assert again.slices_.equals(near.slices_)


def with_correct(correct: np.ndarray, x: np.ndarray | None = None) -> Predictions:
    x = single_label(len(correct)).embeddings if x is None else x
    return Predictions.from_arrays(x, correct=correct)


def test_all_correct_fits_and_nothing_fails():
    u = UDIS().fit(with_correct(np.ones(200, dtype=bool)))
    assert len(u.slices_) == 0
    assert u.slices_.weights.shape == (0, 200)
    assert u.tree_.leaf
    assert u.tree_.clusters == tuple(range(u.cut_))
    assert u.membership(with_correct(np.ones(9, dtype=bool))).shape == (9, 0)


def test_all_wrong_fits_and_notes_why_nothing_fails():
    u = UDIS().fit(with_correct(np.zeros(200, dtype=bool)))
    assert len(u.slices_) == 0
    assert "every example is wrong" in u.slices_.provenance["notes"][0]


def test_without_perfect_clusters_better_ones_are_neighbours():
    correct = single_label(400).correct.copy()
    x = single_label(400).embeddings
    labels = UDIS(cut=15).fit(with_correct(correct, x)).labels_
    for cluster in range(15):
        correct[np.flatnonzero(labels == cluster)[0]] = False
    u = UDIS(cut=15).fit(with_correct(correct, x))
    (nearest,) = u.slices_.statistics[0].cluster.nearest
    assert u.tree_.accuracy <= nearest.accuracy < 1


def test_duplicates_give_a_result_unless_all_are_equal():
    correct = np.arange(60) >= 20
    u = UDIS().fit(with_correct(correct, np.repeat(np.eye(3), 20, axis=0)))
    assert u.cut_ == 3
    assert u.cut_scores_[3] == 1
    assert_array_equal(u.slices_.weights, [~correct])
    with pytest.raises(ValueError, match="all 60 embeddings are equal"):
        UDIS().fit(with_correct(correct, np.ones((60, 3))))


@pytest.mark.parametrize("n", [2, 5, 9])
def test_too_few_examples_get_a_clear_error(n):
    with pytest.raises(
        ValueError, match=f"no cut of these {n} examples into two or more clusters leaves 5 in each"
    ):
        UDIS().fit(with_correct(np.arange(n) % 2 == 0))
    u = UDIS(cut=2, min_cluster_size=1).fit(with_correct(np.arange(n) % 2 == 0))
    assert sorted(np.unique(u.labels_)) == [0, 1]


@pytest.mark.parametrize("search", ["exact", "published"])
@pytest.mark.parametrize("approximate", ["auto", 3])
def test_six_rows_in_clusters_of_one_and_two(search, approximate):
    """Every search finds the three pairs."""
    x = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [9.1]])
    p = with_correct(np.array([0, 0, 1, 1, 1, 1], dtype=bool), x)
    u = UDIS(1, 2, search=search, approximate=approximate).fit(p)
    assert u.cut_ == 3
    assert {tuple(np.flatnonzero(u.labels_ == c)) for c in range(3)} == {(0, 1), (2, 3), (4, 5)}


def test_one_cluster_is_the_whole():
    u = UDIS(cut=1).fit(with_correct(np.arange(50) % 2 == 0))
    assert u.cut_scores_ == {}
    assert (u.labels_ == 0).all()
    assert len(u.slices_) == 0


def test_sizes_may_be_shares():
    p = single_label(300)
    shares = UDIS(min_cluster_size=0.02, max_cluster_size=0.2).fit(p)
    assert shares.cut_scores_ == UDIS(min_cluster_size=6.0, max_cluster_size=60.0).fit(p).cut_scores_
    assert shares.cut_scores_ == UDIS(min_cluster_size=6, max_cluster_size=60).fit(p).cut_scores_


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metric": "auc"}, "metric='auc' is unknown; choose accuracy or f1"),
        ({"search": "fast"}, "choose exact or published"),
        ({"dtype": "float16"}, "choose float64 or float32"),
        ({"cut": 0}, "cut=0 must be 'silhouette' or a number of clusters"),
        ({"cut": 61}, "cut=61 asks for more clusters than 60 examples allow"),
        ({"cut": "best"}, "cut='best' must be"),
        ({"approximate": 1}, "approximate=1 must be"),
        ({"device": "abacus"}, "device='abacus' is unknown; choose cpu or cuda"),
        ({"approximate": "never"}, "approximate='never' must be"),
        ({"accuracy_threshold": 0}, r"accuracy_threshold=0 must lie in \(0, 1\]"),
        ({"min_cluster_size": -1}, "min_cluster_size=-1 must be a positive number"),
        ({"category": "bed"}, "needs predictions by class"),
        ({"metric": "f1"}, "metric='f1' needs labels and predictions"),
    ],
)
def test_invalid_settings_get_a_clear_error(settings, words):
    with pytest.raises(ValueError, match=words):
        UDIS(**settings).fit(with_correct(np.arange(60) % 2 == 0))


def test_insufficient_records_get_a_clear_error(audited):
    p = audited[1]
    with pytest.raises(ValueError, match="which examples are right; give correct, or labels and predictions"):
        UDIS().fit(Predictions.from_arrays(p.embeddings))
    with pytest.raises(ValueError, match="category='sofa' is not one of the classes: chair, dog, bed"):
        UDIS(category="sofa").fit(p)
    with pytest.raises(ValueError, match="needs labels"):
        UDIS(category="bed").fit(Predictions.from_arrays(p.embeddings, outputs=p.outputs, task=p.task))
    none = Predictions.from_arrays(p.embeddings, labels=p.labels, outputs=-abs(p.outputs), task=p.task)
    with pytest.raises(ValueError, match="0 are predicted as 'bed'"):
        UDIS(category="bed").fit(none)
    with pytest.raises(ValueError, match="UDIS needs at least two examples"):
        UDIS().fit(with_correct(np.array([True])))
    counts = np.full(len(p), 0.5)
    with pytest.raises(ValueError, match=r"row 0 is 0\.5.*scale the counts"):
        UDIS().fit(Predictions.from_arrays(p.embeddings, correct=p.correct, counts=counts))
    x = p.embeddings.astype(np.float64)
    x[3] = 1e200
    with pytest.raises(ValueError, match=r"row 3 \(id 3\) holds 1e\+200"):
        UDIS().fit(Predictions.from_arrays(x, correct=p.correct))


def test_attributes_of_every_kind_can_be_described():
    n = 300
    random = np.random.default_rng(0)
    attributes = pa.table(
        {
            "age": pa.array([None if i % 7 == 0 else float(i % 97) for i in range(n)]),
            "skin": pa.array(random.choice(["light", "dark"], n)).dictionary_encode(),
            "missing": pa.nulls(n),
            "one": pa.array([None] * (n - 1) + [1.5]),
            "parts": pa.array([[1, 2]] * n),
            "seen": pa.array(random.random(n) < 0.5),
        }
    )
    p = single_label(n)
    failing = np.isin(np.arange(n), np.flatnonzero(UDIS(cut=10).fit(p).labels_ == 0))
    u = UDIS(cut=10).fit(Predictions.from_arrays(p.embeddings, correct=~failing, attributes=attributes))
    names = {found.name.split("=")[0] for node in u.tree_.walk() for found in node.top_attributes}
    assert {"skin", "seen"} <= names
    assert not {"missing", "parts"} & names
