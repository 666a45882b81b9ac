"""Options of Spotlight and UDIS that go beyond the published methods: each against its definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from clustered_predictions import single_label
from weakspot import UDIS, Predictions, Spotlight
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.methods import apply
from weakspot.methods.principal_components import fit_principal_components
from weakspot.methods.residuals import residuals
from weakspot.slices import Slices

QUICK = {"n_slices": 2, "search": "published", "steps": 300, "min_size": 20}


@pytest.fixture(scope="module")
def planted() -> Predictions:
    return planted_predictions(3.0, 500, seed=0)[0]


def test_labels_within_searches_each_label_separately(planted):
    found = Spotlight(**QUICK, labels="within").fit(planted)
    expected = []
    for code in np.unique(planted.labels):
        rows = np.flatnonzero(planted.labels == code)
        alone = Spotlight(**QUICK).fit(planted.take(rows))
        bad = residuals(planted)[rows]
        for centre, w in zip(alone.centers_, alone.slices_.weights, strict=True):
            z = w @ (bad - bad.mean()) / bad.std() / np.sqrt((w**2).sum())
            expected.append((z, code, centre))
    expected.sort(key=lambda one: -one[0])
    assert_array_equal(found.slices_.parameters["labels"], [code for _, code, _ in expected[:2]])
    assert_allclose(found.centers_, [centre for _, _, centre in expected[:2]], rtol=1e-9)
    for w, code in zip(found.slices_.weights, found.slices_.parameters["labels"], strict=True):
        assert w.max() > 0
        assert not w[planted.labels != code].any()


def test_residuals_can_replace_losses(planted):
    bounded = Spotlight(**QUICK, loss="residual").fit(planted)
    by_hand = Spotlight(**QUICK).fit(replace(planted, losses=residuals(planted)))
    assert_array_equal(bounded.centers_, by_hand.centers_)
    assert (
        bounded.slices_.statistics[0].loss_inside > by_hand.slices_.statistics[0].loss_inside
    )  # statistics use losses, not residuals


@pytest.mark.parametrize("labels", ["ignore", "within"])
def test_discriminant_members_equal_scikit_learns(planted, labels):
    kernel = Spotlight(**QUICK, labels=labels).fit(planted)
    graded = Spotlight(**QUICK, labels=labels, members="discriminant").fit(planted)
    x = fit_principal_components(planted.embeddings, np.ones(len(planted)), 32, 0).transform(
        planted.embeddings
    )
    for j, w in enumerate(kernel.slices_.weights):
        rows = np.arange(len(planted))
        if labels == "within":
            rows = np.flatnonzero(planted.labels == kernel.slices_.parameters["labels"][j])
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(x[rows], w[rows] > 0)
        mine = graded.slices_.weights[j]
        assert_allclose(mine[rows], theirs.predict_proba(x[rows])[:, 1], atol=1e-9)
        assert not np.delete(mine, rows).any()


@pytest.mark.parametrize("options", [{"labels": "within"}, {"members": "discriminant"}])
def test_options_apply_to_other_data_and_survive_saving(planted, options, tmp_path):
    spotlight = Spotlight(**QUICK, **options).fit(planted)
    assert_allclose(spotlight.membership(planted).T, spotlight.slices_.weights, atol=1e-12)
    spotlight.slices_.save(tmp_path)
    assert_array_equal(apply(Slices.load(tmp_path), planted), spotlight.membership(planted))
    unlabelled = Predictions.from_arrays(planted.embeddings, planted.losses)
    assert (spotlight.membership(unlabelled) >= spotlight.membership(planted)).all()
    with pytest.raises(ValueError, match="take the embeddings of the same model"):
        spotlight.membership(Predictions.from_arrays(planted.embeddings[:, :3], planted.losses))


def test_a_spotlight_on_everything_has_full_weights(planted):
    everything = Spotlight(n_slices=1, min_size=len(planted) - 2, members="discriminant", starts=1).fit(
        planted
    )
    assert_allclose(everything.slices_.weights, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": "inside"}, "labels='inside' is unknown; choose ignore or within"),
        ({"labels": "within", "n_components": 2}, "n_components would project each label differently"),
        ({"members": "discriminant", "sharded": True}, "needs all rows in one place"),
        ({"labels": "within", "min_size": 400}, "no label has twice the 400 examples of a spotlight"),
    ],
)
def test_impossible_settings_are_refused(planted, options, words):
    with pytest.raises(ValueError, match=words):
        Spotlight(**QUICK | options).fit(planted)


def test_searching_within_labels_needs_labels(planted):
    with pytest.raises(ValueError, match="labels='within' needs labels, and these predictions hold none"):
        Spotlight(**QUICK, labels="within").fit(Predictions.from_arrays(planted.embeddings, planted.losses))


def test_membership_by_distance_is_one_half_at_the_rms_radius(tmp_path):
    p = single_label()
    plain, graded = UDIS().fit(p), UDIS(members="distance").fit(p)
    assert len(plain.slices_) == len(graded.slices_) > 0
    for j, cluster in enumerate(plain.slices_.parameters["failing"]):
        x = p.embeddings.astype(np.float64)
        inside = plain.slices_.weights[j] > 0
        centre = x[inside].mean(axis=0)
        squares = ((x - centre) ** 2).sum(axis=1)
        assert_allclose(graded.slices_.weights[j], 0.5 ** (squares / squares[inside].mean()), rtol=1e-9)
        assert graded.labels_[inside].tolist() == [cluster] * inside.sum()
    assert_allclose(graded.membership(p).T, graded.slices_.weights)
    graded.slices_.save(tmp_path)
    assert_array_equal(apply(Slices.load(tmp_path), p), graded.membership(p))
