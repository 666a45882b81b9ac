"""One rule decides which clusters fail, and its threshold is the same number wherever it is written."""

import re

import numpy as np
import pytest

from paths import ROOT
from weakspot.config.schemas import UDISConfig
from weakspot.methods.udis import UDIS
from weakspot.slices import ClusterNode
from weakspot.slices.failing_rule import ACCURACY_THRESHOLD, SMALLEST, fails, worst_first


@pytest.mark.parametrize(
    ("size", "score", "wrong"),
    [(6.0, 0.59, True), (6.0, 0.375, True), (5.0, 0.1, False), (5.5, 0.1, True), (100.0, 0.9, False)],
)
def test_a_cluster_fails_if_it_is_larger_and_worse_than_the_bounds(size, score, wrong):
    assert fails(size, score, 0.75, 0.8) == wrong
    assert fails(np.array([size]), np.array([score]), 0.75, 0.8).tolist() == [wrong]


def test_the_worst_come_first_and_ties_are_ordered_by_higher_loss():
    leaves = [
        ClusterNode(i, 9.0, 1.0, a, loss) for i, (a, loss) in enumerate([(0.5, 1.0), (0.1, None), (0.5, 2.0)])
    ]
    assert [leaf.id for leaf in worst_first(leaves)] == [1, 2, 0]


def test_the_threshold_is_one_number_in_code_schema_and_experiments():
    assert UDISConfig().accuracy_threshold == UDIS().accuracy_threshold == ACCURACY_THRESHOLD
    assert UDISConfig().min_cluster_size == UDIS().min_cluster_size == SMALLEST
    written = [
        float(number)
        for file in (ROOT / "configs").rglob("*.yaml")
        for number in re.findall(r"accuracy_threshold: *([\d.]+)", file.read_text())
    ]
    assert written
    assert set(written) == {ACCURACY_THRESHOLD}
