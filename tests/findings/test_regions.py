"""The extent of findings, and that the accuracy they state is the accuracy of their examples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from weakspot import Findings, Predictions, Scan
from weakspot.evaluation import held_out
from weakspot.evaluation.confirmation import Evidence
from weakspot.findings import regions
from weakspot.findings.audited_examples import audit_examples
from weakspot.findings.extent import Extent, cross_fitted_weights
from weakspot.findings.group_descriptions import GroupDescriber


def small_set(seed: int, n: int = 200) -> tuple[Predictions, np.ndarray]:
    """Three classes, with a fifth of one of them nearly always wrong; and the true accuracy of each example."""
    rng = np.random.default_rng([seed, n])
    labels, night = rng.integers(0, 3, n), rng.choice(3, n, p=[0.6, 0.2, 0.2]) == 2
    x = rng.normal(size=(n, 12))
    x[np.arange(n), labels] += 3
    x[:, 3] += 4 * night
    rates = np.where(night & (labels == 2), 0.05, 0.95)
    predicted = np.where(rng.random(n) < rates, labels, (labels + 1) % 3)
    outputs = np.zeros((n, 3))
    outputs[np.arange(n), predicted] = 2 + rng.random(n)
    ids = np.array([f"s{seed}n{n}i{row}" for row in range(n)])
    return Predictions.from_arrays(x, labels=labels, outputs=outputs, ids=ids), rates


def largest_errors(seeds: range) -> list[float]:
    """For each set with confirmed findings, the largest error of a stated accuracy against that of the true rates."""
    found = []
    for seed in seeds:
        p, rates = small_set(seed)
        held = held_out(p.ids, 0.5)
        searched = p.take(~held)
        findings = Findings.build(searched, Scan(draws=0).fit(searched).slices_, confirm=p.take(held))
        rate_of = dict(zip(p.ids.tolist(), rates.tolist(), strict=True))
        members = [one for one in findings.memberships.to_pylist() if one["group"] == "finding"]
        off = []
        for one in findings.findings:
            own = [(rate_of[row["id"]], row["weight"]) for row in members if row["number"] == one.number]
            if one.confirmed:
                assert one.accuracy is not None
                off.append(abs(one.accuracy.inside - _weighted_mean(own)))
        found += [max(off)] if off else []
    return found


def _weighted_mean(values: list[tuple[float, float]]) -> float:
    rates, weights = np.array(values).T
    return float(rates @ weights / weights.sum())


def test_accuracies_stated_in_small_sets_are_close_to_those_of_their_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With few errors, every half of the examples ends an extent elsewhere; its memberships average over all ends."""
    ours = largest_errors(range(16))

    def end_in_one_place(extent: Extent, *args: Any) -> tuple[np.ndarray, np.ndarray]:
        _, tested = cross_fitted_weights(extent, *args)
        return extent.rows.astype(np.float64), tested

    monkeypatch.setattr(regions, "cross_fitted_weights", end_in_one_place)
    ended_once = largest_errors(range(16))
    assert len(ours) == len(ended_once) >= 8
    assert max(ours) < 0.4 < max(ended_once)
    assert np.mean(ours) < 0.7 * np.mean(ended_once)


def test_a_region_is_named_by_its_core() -> None:
    """The name counts examples within most thresholds as inside, whatever the weights add up to."""
    p, _ = small_set(0)
    red = np.arange(len(p)) < 60
    p = replace(p, attributes=pa.table({"colour": np.where(red, "red", "green")}))
    describer = GroupDescriber(audit_examples(Scan().audited(p), False, False), (), None, False)
    nobody = csr_array((1, 0))
    evidence = Evidence("confirmed", 0.001, 0.001, 0.001, 0.001, 60, 60.0, None, None, None)
    for outside in (0.0, 0.3):
        weights = csr_array(np.where(red, 0.8, outside)[None])
        conjunction = describer.name_region(regions.Region((0,), (), weights, nobody, evidence))
        assert conjunction is not None
        assert (str(conjunction), conjunction.holds_for, conjunction.covers) == ("colour = red", 1.0, 1.0)
