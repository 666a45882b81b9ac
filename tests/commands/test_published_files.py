"""Files that the published Spotlight tool saved: reported as they are, and the start of a further search."""

from __future__ import annotations

import json
import pickle
import re

import numpy as np
import pytest

from paths import FIXTURES
from report_pages import read as words_of
from weakspot import Findings, Predictions, Slices, Spotlight

GOLDEN = FIXTURES / "spotlight_spherical_small.npz"


@pytest.fixture(scope="module")
def published():
    """A run of the published tool: its inputs, and three spotlights, found one after another."""
    with np.load(GOLDEN) as file:
        arrays = dict(file)
    return arrays | {"settings": json.loads(str(arrays["settings"]))}


def write(folder, arrays):
    """Write the files of the published tool, with the keys that its scripts use."""
    inference = {"embeddings": arrays["embeddings"], "losses": arrays["losses"]}
    (folder / "x.pkl").write_bytes(pickle.dumps(inference))
    for i in range(3):
        result = {
            name: arrays[f"spotlight{i}_{key}"]
            for name, key in (
                ("weights", "weights"),
                ("unnormalized_weights", "unnormalized_weights"),
                ("spotlight_mean", "mean"),
                ("spotlight_precision", "precision"),
            )
        }
        (folder / f"s{i}.pkl").write_bytes(pickle.dumps(result))


def mean_losses(arrays, i):
    """The mean losses inside and outside one of its spotlights."""
    w, y = (arrays[name].astype(np.float64) for name in (f"spotlight{i}_unnormalized_weights", "losses"))
    return w @ y / w.sum(), (1 - w) @ y / (1 - w).sum()


def test_a_gate_on_spotlights_found_in_all_examples_asks_for_other_predictions(shell, published):
    write(shell.folder, published)
    words = ("slices=s0.pkl", "predictions=x.pkl", "logger=none", "fail_if.accuracy_below=0.7")
    text = shell("discover", *words, fails=2)
    assert (
        "because the slices were found in all of them; test them on other predictions (confirm=FILE)" in text
    )


def test_saved_spotlights_are_reported_with_one_command(shell, published):
    write(shell.folder, published)
    text = shell("discover", "slices=s0.pkl,s1.pkl", "predictions=x.pkl", "logger=none")
    assert "predictions: given (x.pkl) · slices: given (s0.pkl,s1.pkl)\n" in text
    assert "spotlight: 2 slices" in text
    (report,) = shell.reports()
    findings, slices = Findings.load(report.parent), Slices.load(report.parent / "slices")
    assert [one.statistics.size for one in findings.slices] == pytest.approx(
        [published[f"spotlight{i}_unnormalized_weights"].sum() for i in range(2)], rel=1e-6
    )
    for i, one in enumerate(findings.slices):
        inside, outside = mean_losses(published, i)
        assert one.statistics.loss_inside == pytest.approx(inside)
        assert one.statistics.loss_outside == pytest.approx(outside)
        np.testing.assert_array_equal(slices.weights[i], published[f"spotlight{i}_unnormalized_weights"])
    assert findings.confirmation.mode == "off"
    assert {finding.verdict for finding in findings.findings} == {"not_tested"}
    words = re.sub(r"\s+", " ", words_of(report.read_text(encoding="utf-8")))
    assert "Nothing was tested, because these slices were found in all of the examples" in words
    assert "Spotlight 2" in words


def test_saved_spotlights_are_tested_on_other_predictions(shell, published):
    """The same embeddings with a little noise, and losses that are high where the planted examples were."""
    write(shell.folder, published)
    rng = np.random.default_rng(0)
    x = published["embeddings"] + rng.normal(scale=0.01, size=published["embeddings"].shape)
    y = rng.random(len(x)) + 3 * (published["spotlight0_unnormalized_weights"] > 0.2)
    np.savez(shell.folder / "other.npz", embeddings=x.astype(np.float32), losses=y)
    shell("discover", "slices=s0.pkl", "predictions=x.pkl", "confirm=other.npz", "logger=none")
    findings = Findings.load(shell.reports()[0].parent)
    assert (findings.confirmation.mode, findings.confirmation.tested) == ("other", len(x))
    assert [finding.verdict for finding in findings.findings] == ["confirmed"]


@pytest.mark.parametrize("files", ["past=s0.pkl", "past=s0.pkl,s1.pkl"])
def test_a_search_continues_where_the_published_tool_stopped(shell, published, files):
    """Given the earlier published spotlights, the published search finds the next one of the published run."""
    write(shell.folder, published)
    j = files.count("pkl")
    settings = published["settings"]
    shell(
        "discover",
        "predictions=x.pkl",
        "method=spotlight",
        f"method.{files}",
        "method.n_slices=1",
        "method.search=published",
        f"method.min_size={settings['min_weight']}",
        f"method.steps={settings['steps']}",
        "confirm=0",
        "logger=none",
    )
    slices = Slices.load(shell.reports()[0].parent / "slices")
    assert slices.provenance["settings"]["past"] == j
    expected = published[f"spotlight{j}_objective"]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(slices.histories[0]["objective"][:200], expected[:200], atol=1e-5 * scale)
    top = settings["min_weight"]
    ours, theirs = (
        np.argsort(-w)[:top] for w in (slices.weights[0], published[f"spotlight{j}_unnormalized_weights"])
    )
    assert len(np.intersect1d(ours, theirs)) >= 0.9 * top


def test_past_slices_of_more_examples_are_matched_by_id(published):
    p = Predictions.from_arrays(published["embeddings"], published["losses"])
    first = Spotlight(n_slices=1, min_size=30).fit(p)
    rows = np.random.default_rng(0).permutation(len(p))[:400]
    settings = {"n_slices": 1, "min_size": 20}
    by_id = Spotlight(past=first.slices_, **settings).fit(p.take(rows))
    by_row = Spotlight(past=first.slices_.weights[:, rows], **settings).fit(p.take(rows))
    np.testing.assert_array_equal(by_id.slices_.weights, by_row.slices_.weights)
    none = Spotlight(**settings).fit(p.take(rows))
    assert not np.allclose(none.slices_.weights, by_id.slices_.weights)
    others = Predictions.from_arrays(
        published["embeddings"], published["losses"], ids=[f"other-{i}" for i in range(len(p))]
    )
    with pytest.raises(ValueError, match="past holds no weight for the example 'other-0'"):
        Spotlight(past=first.slices_, **settings).fit(others)


def test_past_slices_with_no_weight_on_the_examples_change_nothing(published):
    p = Predictions.from_arrays(published["embeddings"], published["losses"])
    first = Spotlight(n_slices=1, min_size=30).fit(p)
    beyond = np.flatnonzero(first.slices_.weights[0] == 0)
    settings = {"n_slices": 1, "min_size": 20}
    after = Spotlight(past=first.slices_, **settings).fit(p.take(beyond))
    alone = Spotlight(**settings).fit(p.take(beyond))
    np.testing.assert_array_equal(after.slices_.weights, alone.slices_.weights)


def test_a_search_in_half_of_the_examples_avoids_past_spotlights_of_all(shell, published):
    write(shell.folder, published)
    searched = ("method=spotlight", "method.n_slices=1", "method.min_size=20")
    line = ("discover", "predictions=x.pkl", "logger=none", *searched)
    shell(*line)
    (alone,) = shell.reports()
    shell(*line, "method.past=s0.pkl", "stability=1")
    (after,) = set(shell.reports()) - {alone}
    w, later = (Slices.load(report.parent / "slices").weights[0] for report in (alone, after))
    past = published["spotlight0_unnormalized_weights"]
    assert past @ w / w.sum() > 0.5  # without past, it finds the same slice again
    assert past @ later / later.sum() < 0.1
