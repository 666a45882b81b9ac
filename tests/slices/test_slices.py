"""Slices: typed results, folders of earlier versions, and the same slices on other examples."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from clustered_predictions import multilabel
from paths import FIXTURES
from samples import unsealed
from weakspot import UDIS, Predictions, Slices
from weakspot.slices.statistics import ConfusionCell, SliceStatistics, describe

OLD = FIXTURES / "slices_format_2"


def numbers(entry: object) -> dict[str, float]:
    return {name: value for name, value in vars(entry).items() if isinstance(value, (int, float))}


def test_spotlights_of_format_2_are_still_read(tmp_path):
    slices = Slices.load(OLD / "spotlight")
    first = slices.statistics[0]
    assert numbers(first) == pytest.approx(
        {
            "size": 9.6,
            "share": 0.1,
            "members": 20,
            "loss_inside": 1.0690098,
            "loss_outside": 0.2180016,
            "accuracy_inside": 0,
            "accuracy_outside": 0.8333333,
        }
    )
    assert [(cell.label, cell.prediction) for cell in first.confusion] == [("1", "0")]
    assert first.confusion[0].weight == first.size
    assert first.cluster is None
    assert slices.tree is None
    assert Slices.load(slices.save(tmp_path / "now")).equals(slices)


def test_clusters_of_format_2_are_still_read(tmp_path):
    slices = Slices.load(OLD / "udis")
    (one,) = slices.statistics
    near = (65, 7, 41, 5, 93, 23, 27, 31, 6, 36, 32, 42, 76, 44, 8, 43)
    assert one.confusion == (ConfusionCell("not bed", "bed", 23.0),)
    assert numbers(one.cluster) == pytest.approx(
        {
            "cluster": 2,
            "node": 171,
            "accuracy": 0,
            "wrong": 23,
            "loss": 1.6703853,
            "confidence": 0.8785030,
            "wrong_confidence": 0.8785030,
            "f1": 0.3272727,
            "f1_macro": 0.28125,
            "f1_category": 0,
        }
    )
    (attribute,), (category,) = one.cluster.top_attributes, one.cluster.co_predicted
    assert (attribute.name, category.name) == ("room=attic", "cat")
    assert numbers(attribute) == pytest.approx({"share": 1, "overall": 0.2584270})
    assert numbers(category) == pytest.approx({"share": 1, "overall": 0.2921348})
    assert [nearest.sense for nearest in one.cluster.nearest] == ["embedding", "attributes"]
    for nearest, distance in zip(one.cluster.nearest, [14.1414890, np.sqrt(2)], strict=True):
        expected = {"node": 167, "size": 16, "accuracy": 1, "distance": distance}
        assert numbers(nearest) == pytest.approx(expected)
        assert nearest.members == near
    assert [node.id for node in slices.tree.walk()] == [176, 170, 175, 173, 174, 167, 171]
    assert [node.id for node in slices.tree.leaves()] == [170, 173, 167, 171]
    assert (slices.tree.size, slices.tree.wrong) == (89, 32)
    assert sum(len(leaf.members) for leaf in slices.tree.leaves()) == 89
    assert [leaf.id for leaf in slices.tree.leaves() if leaf.failing] == [171]
    assert Slices.load(slices.save(tmp_path / "now")).equals(slices)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one.update(size="many"), r"0\.size: "),
        (lambda one: one.pop("members"), r"0\.members: Field required"),
        (lambda one: one.update(confusion=[{"label": "a"}]), r"0\.confusion\.0\.prediction: "),
        (lambda one: one["cluster"].update(nearest=7), r"0\.cluster\.nearest: "),
    ],
)
def test_statistics_of_the_wrong_type_are_refused_with_their_place(change, words, tmp_path):
    folder = Slices.load(OLD / "udis").save(tmp_path / "slices")
    statistics = json.loads((folder / "slices.json").read_text())["statistics"]
    change(statistics[0])
    unsealed(folder / "slices.json", statistics=statistics)
    with pytest.raises(ValueError, match=rf"slices\.json: key 'statistics' cannot be read: {words}"):
        Slices.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(nearest=[1]),
        lambda one: one.update(nearest={"embedding": 3}),
        lambda one: one.update(co_predicted=[{"name": "cat"}]),
        lambda one: one.update(co_predicted=4),
    ],
)
def test_damaged_clusters_of_format_2_are_refused(change, tmp_path):
    folder = shutil.copytree(OLD / "udis", tmp_path / "slices")
    header = json.loads((folder / "slices.json").read_text())
    change(header["statistics"][0])
    (folder / "slices.json").write_text(json.dumps(header))
    with pytest.raises(ValueError, match=r"slices\.json: key 'statistics' cannot be read"):
        Slices.load(folder)


def test_slices_carried_over_to_more_examples_describe_all_of_them():
    p = multilabel()
    part = np.random.default_rng(0).permutation(len(p))[:500]
    u = UDIS(category="bed").fit(p.take(part))
    audit = u.audited(p)
    weights = u.membership(p).T
    carried = u.slices_.carry_over(weights, audit.record, part, audit.rows)
    assert_array_equal(carried.ids, p.ids)
    assert_array_equal(carried.weights, weights)
    right = p.labels[:, 2] == 1
    assert len(carried)
    for w, new, old in zip(weights, carried.statistics, u.slices_.statistics, strict=True):
        inside, outside = (w == 1) & audit.rows, (w == 0) & audit.rows
        assert (new.size, new.share) == (inside.sum(), inside.sum() / audit.rows.sum())
        assert new.accuracy_inside == pytest.approx(right[inside].mean())
        assert new.accuracy_outside == pytest.approx(right[outside].mean())
        assert {cell.label for cell in new.confusion} <= {"bed", "not bed"}
        assert new.cluster.node == old.cluster.node
        for mine, theirs in zip(new.cluster.nearest, old.cluster.nearest, strict=True):
            assert list(mine.members) == part[list(theirs.members)].tolist()
    for mine, theirs in zip(carried.tree.walk(), u.tree_.walk(), strict=True):
        assert (mine.id, len(mine.children)) == (theirs.id, len(theirs.children))
        assert list(mine.members) == part[list(theirs.members)].tolist()
        assert list(mine.wrong_members) == part[list(theirs.wrong_members)].tolist()


def test_members_that_are_not_among_the_other_examples_are_removed_from_the_tree():
    p = multilabel()
    u = UDIS().fit(p)
    kept = np.arange(0, len(p), 2)
    rows = np.full(len(p), -1)
    rows[kept] = np.arange(len(kept))
    carried = u.slices_.carry_over(u.slices_.weights[:, kept], p.take(kept), rows)
    members = sorted(row for leaf in carried.tree.leaves() for row in leaf.members)
    assert members == list(range(len(kept)))
    assert carried.statistics[0].size == u.slices_.weights[0, kept].sum()


def test_weights_of_another_shape_are_refused():
    p = multilabel()
    slices = UDIS().fit(p).slices_
    with pytest.raises(ValueError, match=r"not weights of shape \(700, \d+\) and 700 rows"):
        slices.carry_over(slices.weights.T, p, np.arange(700))
    with pytest.raises(ValueError, match=r"and 3 rows"):
        slices.carry_over(slices.weights, p, np.arange(3))


def test_examples_that_are_not_judged_are_not_counted():
    p = Predictions.from_arrays(np.zeros((4, 1)), losses=[1.0, 2, 4, 8], counts=[1, 2, 1, 1])
    (one,) = describe(np.array([[1.0, 0.5, 0, 0]]), p, np.array([True, True, True, False]))
    assert one == SliceStatistics(
        size=2.0,
        share=0.5,
        members=2,
        loss_inside=1.5,
        loss_outside=3.0,
        accuracy_inside=None,
        accuracy_outside=None,
    )
    assert replace(one, size=3.0) != one
