"""The benchmarks with a known answer: what they plant, how they score it, and that they can fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import pytest

from paths import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def test_a_method_below_its_required_success_is_reported():
    from planted_slices import shortfalls

    def line(method: str, success: float, valid: bool = True) -> dict[str, Any]:
        return {"method": method, "valid": valid} | ({"success": success} if valid else {})

    found = [line("scan", 1.0), line("scan", 0.0), line("scan", 0.0, valid=False), line("random", 0.0)]
    assert shortfalls(found, {"scan": 0.5}) == []
    (message,) = shortfalls(found, {"scan": 0.5, "random": 0.1})
    assert message == "random reaches a success of 0.00 over 1 settings, less than 0.1"
    assert shortfalls(found, {"udis": 0.1}) == [
        "udis reaches a success of nothing over 0 settings, less than 0.1"
    ]


def test_embeddings_are_compared_on_the_same_models():
    from planted_slices import by_embedding

    def line(seed: int, embedding: str, method: str, success: float) -> dict[str, Any]:
        where = {"predictions": "trained", "embedding": embedding, "seed": seed}
        return where | {"method": method, "valid": True, "success": success}

    found = [line(seed, "own", "domino", seed == 1) for seed in (1, 2, 3, 4)]
    found += [line(seed, "earlier", "scan", 1.0) for seed in (1, 2, 5)]  # the others have no model 5
    found += [line(1, "own", "scan", 1.0) | {"predictions": "synthetic"}]
    found += [{**line(3, "earlier", "scan", 1.0), "valid": False}]
    *_, scan = by_embedding(found, ["domino", "scan"], "domino")
    assert scan == "| scan | – | 0.50 [0.00, 1.00] (2) | – |"
    assert by_embedding(found, ["scan"], "udis") == []


def test_the_table_shows_success_by_kind_and_by_source():
    from planted_slices import table

    def line(seed: int, kind: str, source: str, success: float) -> dict[str, Any]:
        where = {"predictions": "trained", "embedding": "own", "network": "plain", "seed": seed}
        scores = {"success": success, "precision@10": success, "average precision": success, "seconds": 0.5}
        return where | {"method": "scan", "kind": kind, "source": source, "valid": True} | scores

    found = [line(1, "rare", "mnist", 1.0), line(2, "noisy", "mnist", 0.0), line(3, "rare", "cifar10", 1.0)]
    _, title, _, header, _, row = ["", *table(found, ["scan"], None)]
    assert title == "### Trained predictions, model's own embedding: 3 settings"
    cells = dict(zip(*([cell.strip() for cell in one.split("|")] for one in (header, row)), strict=True))
    assert (cells["rare"], cells["noisy"], cells["correlation"]) == ("1.00 (2)", "0.00 (1)", "–")
    assert (cells["mnist"], cells["cifar10"]) == ("0.50 (2)", "1.00 (1)")


def test_a_required_success_of_an_unmeasured_method_is_refused():
    command = [
        sys.executable,
        str(BENCHMARKS / "planted_slices.py"),
        "--methods",
        "scan",
        "--least",
        "udis=0.5",
    ]
    done = run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--least udis: this is not one of the methods that are measured" in done.stderr


def test_pairs_of_digits_match_the_published_design():
    from mnist_sum import pairs

    classes = np.repeat(np.arange(10), 30)
    images = (
        np.repeat(classes[:, None, None, None] + 1, 28 * 28, axis=1).reshape(-1, 1, 28, 28).astype(np.uint8)
    )
    drawn, sums, groups = pairs(images, classes, np.random.default_rng(0))
    assert drawn.shape == (3775, 3, 28, 56)
    left, right = (drawn[:, 0, 0, column].astype(int) - 1 for column in (0, 55))
    np.testing.assert_array_equal(left + right, sums)
    sizes = np.zeros((4, 4), dtype=int)
    np.add.at(sizes, (left, right), 1)
    np.testing.assert_array_equal(sizes, np.where(np.eye(4)[2][:, None] * np.eye(4)[2], 25, 250))
    red = drawn[:, 1, 0, 0] == 0
    assert not red[~((left == 1) & (right == 1)) & ~((left == 0) & (right == 3))].any()
    assert 10 <= groups[1].sum() <= 45  # a tenth of 250, as for the next group
    assert 10 <= groups[2].sum() <= 45
    assert groups[0].sum() == 25
    assert (groups[2] == red & (left == 0)).all()


def test_blind_spots_are_conjunctions_of_visible_attributes():
    from planted.shapes import TARGET, Configuration

    for seed in range(6):
        random = np.random.default_rng(seed)
        configuration = Configuration.drawn(random, (2, 4))
        images, square, spots = configuration.images(300, random)
        assert images.shape == (300, 3, 28, 28)
        assert 0.4 < square.mean() < 0.6
        assert 1 <= len(configuration.spots) == len(spots) <= 3
        assert not spots[:, ~square].any()
        assert spots.sum(axis=0).max() <= 1  # any two differ in two attributes
        for spot, share in zip(configuration.spots, spots.mean(axis=1), strict=True):
            assert spot[TARGET]
            assert 3 <= len(spot) <= 5
            assert share == pytest.approx(0.5 ** len(spot), abs=0.05)
        blank = (images == 255).all(axis=1).mean(axis=(1, 2))
        if ("background", "color") not in configuration.rolled and (
            "background",
            "texture",
        ) not in configuration.rolled:
            assert (blank[square] < blank[~square].max()).all()


def test_discovery_and_false_discovery():
    from spotcheck import rates

    spots = np.zeros((2, 100), dtype=bool)
    spots[0, :10] = spots[1, 50:60] = True
    memberships = np.zeros((100, 5))
    memberships[80:, 0] = 1.0  # matches no blind spot
    memberships[:6, 1] = 0.9  # this and the next cover the first together
    memberships[5:10, 2] = 0.6
    memberships[50:60, 3] = 0.4  # less than half
    memberships[:10, 4] = memberships[30:40, 4] = 1.0  # half of it outside
    assert rates(memberships, spots) == (0.5, pytest.approx(1 / 3))
    memberships[50:58, 3] = 0.5
    assert rates(memberships, spots) == (1.0, pytest.approx(1 / 4))
    nothing, false = rates(memberships[:, :1], spots)
    assert nothing == 0
    assert np.isnan(false)
    assert rates(np.empty((100, 0)), spots)[0] == 0


@pytest.mark.slow
def test_both_public_benchmarks_read_the_last_layer_of_a_trained_network(monkeypatch):
    import mnist_sum
    import spotcheck
    from planted.sources import Source

    digits = np.repeat(np.arange(10), 60)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (600, 1, 28, 28)).astype(np.uint8)
    order = random.permutation(600)
    monkeypatch.setattr(mnist_sum, "load", lambda name, root: Source("mnist", images[order], digits[order]))
    monkeypatch.setattr(
        mnist_sum, "ROWS", {part: (200 * i, 200 * i + 200) for i, part in enumerate(mnist_sum.ROWS)}
    )
    monkeypatch.setattr(spotcheck, "SIZES", dict.fromkeys(spotcheck.SIZES, 120))
    for module in (mnist_sum, spotcheck):
        monkeypatch.setattr(module, "EPOCHS", 1)
    for made, targets in ((mnist_sum._made(0, Path()), 7), (spotcheck._made(0), 2)):
        n = len(made["test_labels"])
        assert made["test_embeddings"].shape == (n, 64)
        assert made["test_outputs"].shape == (n, targets)
