"""Regions are named by the attributes that were planted in them; without any they have no name."""

import numpy as np
import pyarrow as pa
import pytest

from weakspot.findings import region_names
from weakspot.findings.region_names import RegionNamer

CITIES = ["Lima", "Quito", "Rome", "Oslo"]


def people(seed, n=4000):
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, n) if seed % 2 else rng.uniform(18, 90, n)
    table = pa.table(
        {
            "sex": rng.choice(["f", "m"], n),
            "age": age,
            "city": rng.choice(CITIES, n),
            "noise": rng.normal(size=n),
        }
    )
    return rng, table, age, np.array(table["city"].to_pylist())


@pytest.mark.parametrize("seed", range(4))
def test_a_conjunction_of_two_attributes_is_named(seed):
    rng, table, age, city = people(seed)
    planted = (age > 70) & (city == "Lima")
    region = np.where(planted, rng.random(len(age)) < 0.9, rng.random(len(age)) < 0.01)
    found = RegionNamer(table).name(region.astype(float))
    assert str(found) == "age > 70 and city = Lima"
    assert found.holds_for > 0.7
    assert found.covers == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("seed", range(4))
def test_a_region_of_one_attribute_is_named_by_it_alone(seed):
    _, table, age, city = people(seed)
    assert str(RegionNamer(table).name((city == "Oslo").astype(float))) == "city = Oslo"
    assert str(RegionNamer(table).name((age <= 30).astype(float))) == "age ≤ 30"


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8])
def test_noise_has_no_name(share):
    rng, table, _, _ = people(0)
    assert RegionNamer(table).name((rng.random(table.num_rows) < share).astype(float)) is None


def test_counts_are_equivalent_to_repeated_rows():
    rng, table, age, city = people(1, n=300)
    region = ((city == "Rome") & (age > 50)).astype(float)
    counts = rng.integers(1, 4, len(region))
    rows = np.repeat(np.arange(len(region)), counts)
    weighted = RegionNamer(table, counts).name(region)
    copied = RegionNamer(table.take(rows)).name(region[rows])
    assert str(weighted) == str(copied)
    assert weighted.f1 == pytest.approx(copied.f1)


def test_missing_numbers_satisfy_no_condition():
    age = np.array([np.nan, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, np.inf] * 20)
    found = RegionNamer(pa.table({"age": age})).name((age > 45).astype(float) * np.isfinite(age))
    assert found.conditions[0].attribute == "age"
    assert 0.5 <= found.covers <= 1


def test_a_sample_of_many_examples_does_not_depend_on_their_order(monkeypatch):
    monkeypatch.setattr(region_names, "_MOST_ROWS", 200)
    rng = np.random.default_rng(0)
    n = 1000
    age, order = rng.integers(18, 90, n), rng.permutation(n)
    region = ((age > 60) & (rng.random(n) < 0.8)).astype(float)
    ids = np.array([f"p{i}" for i in range(n)])
    found = RegionNamer(pa.table({"age": age}), ids=ids).name(region)
    permuted = RegionNamer(pa.table({"age": age[order]}), ids=ids[order]).name(region[order])
    assert found is not None
    assert permuted == found
    assert RegionNamer(pa.table({"age": age}), ids=order.astype(str)).name(region) != found
