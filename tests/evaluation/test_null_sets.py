"""If no slice is real, hardly any is confirmed, whatever the losses, memberships and labels look like."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from paths import ROOT
from weakspot import UDIS, Findings, Scan, Spotlight
from weakspot.evaluation import Evidence, confirm
from weakspot.evaluation.synthetic import null_predictions, planted_predictions
from weakspot.pipeline.search import search

Made = tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray]


def hard(random: np.random.Generator, k: int, n: int, size: int) -> np.ndarray:
    return np.array([np.isin(np.arange(n), random.choice(n, size, replace=False)) for _ in range(k)], float)


def near(random: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Spotlight's kernel around five rows, in an embedding that follows the label."""
    x = random.normal(size=(len(labels), 2)) + 0.7 * labels[:, None]
    centres = x[random.choice(len(x), 5)]
    return np.maximum(0, 1 - ((x - centres[:, None]) ** 2).sum(axis=2))


def tiny(random: np.random.Generator) -> Made:
    labels = random.integers(0, 5, 300)
    return hard(random, 5, 300, 7), random.exponential(size=300) * (1 + labels), None, labels


def errors(random: np.random.Generator) -> Made:
    labels = random.integers(0, 4, 400)
    return (
        hard(random, 5, 400, 30),
        None,
        random.random(400) > np.array([0.02, 0.1, 0.3, 0.5])[labels],
        labels,
    )


def rare_errors_in_large_slices(random: np.random.Generator) -> Made:
    labels = random.integers(0, 4, 3000)
    return hard(random, 5, 3000, 300), None, random.random(3000) > 0.03 * (1 + labels), labels


def soft(random: np.random.Generator) -> Made:
    labels = random.integers(0, 4, 500)
    return near(random, labels), random.lognormal(sigma=2, size=500) * (1 + labels) ** 2, None, labels


def many_labels(random: np.random.Generator) -> Made:
    labels = random.integers(0, 333, 1000)
    return hard(random, 5, 1000, 50), random.exponential(size=1000) * (1 + labels), None, labels


def many_slices(random: np.random.Generator) -> Made:
    labels = random.integers(0, 4, 1000)
    return hard(random, 50, 1000, 15), random.exponential(size=1000) * (1 + labels), None, labels


@pytest.mark.slow
@pytest.mark.parametrize("make", [tiny, errors, rare_errors_in_large_slices, soft, many_labels, many_slices])
def test_at_most_a_twentieth_of_null_sets_has_a_confirmed_slice(make: Callable[..., Made]) -> None:
    sets = 60 if make is many_slices else 200
    confirmed = sum(
        any(one.verdict == "confirmed" for one in confirm(*make(np.random.default_rng(seed))))
        for seed in range(sets)
    )
    assert confirmed <= binom.ppf(0.999, sets, 0.05)


@pytest.mark.parametrize(("rates", "patients"), [((1.5, 6.0), 15), ((6.0, 1.5), 40), ((0.3, 0.3), 15)])
def test_slices_of_patients_without_a_common_failure_are_confirmed_only_by_chance(
    rates: tuple[float, float], patients: int
) -> None:
    """Slices lie in a third of the patients; every patient's error rate is drawn from one distribution."""
    sets, confirmed = 100, {"by rows": 0, "by patients": 0}
    for seed in range(sets):
        random = np.random.default_rng(seed)
        n = 30 * patients
        of_patient, labels = random.integers(0, patients, n), random.integers(0, 2, n)
        correct = random.random(n) > random.beta(*rates, patients)[of_patient]
        w = (random.random((1, n)) < np.where(of_patient % 3 == 0, 0.8, 0.02)).astype(float)
        for name, groups in (("by rows", None), ("by patients", of_patient)):
            (found,) = confirm(w, None, correct, labels, groups=groups)
            confirmed[name] += found.verdict == "confirmed"
    assert confirmed["by patients"] <= binom.ppf(0.999, sets, 0.05)
    assert confirmed["by rows"] > confirmed["by patients"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tags", "number", "patient"])
def test_at_most_a_twentieth_of_null_tags_numbers_or_patients_has_a_finding(kind: Any) -> None:
    sets, confirmed = 60, 0
    for seed in range(sets):
        p = null_predictions(kind, 2000, seed)
        run = search(Scan(draws=0), p, 0.5, group="patient" if kind == "patient" else None)
        told = Findings.build(p, run.slices, confirm=run.confirm, projection="none")
        confirmed += any(one.confirmed for one in told.findings)
    assert confirmed <= binom.ppf(0.999, sets, 0.05)


def halves(method: Any, p: Any) -> tuple[list[Evidence], list[Evidence]]:
    """The evidence for the slices found in the first half: on the second, and (misused) on the first."""
    half = len(p) // 2
    searched, held = p.take(np.arange(half)), p.take(np.arange(half, len(p)))
    fitted = method.fit(searched)
    found = fitted.membership(held).T
    return (
        confirm(found, held.losses, held.correct, held.labels),
        confirm(fitted.slices_.weights, searched.losses, searched.correct, searched.labels),
    )


def any_of(found: list[Evidence], verdict: str) -> bool:
    return any(one.verdict == verdict for one in found)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:a published spotlight lost every example")
@pytest.mark.parametrize("kind", ["independent", "label"])
def test_spotlights_of_noise_are_confirmed_only_on_the_rows_searched(kind: Any) -> None:
    sets = 40
    evidence = [
        halves(Spotlight(search="published", min_size=0.04), null_predictions(kind, 600, seed))
        for seed in range(sets)
    ]
    assert sum(any_of(held, "confirmed") for held, _ in evidence) <= binom.ppf(0.999, sets, 0.05)
    assert sum(any_of(same, "confirmed") for _, same in evidence) > 0.8 * sets
    explained = sum(any_of(held, "explained_by_label") for held, _ in evidence)
    assert explained > 0.5 * sets if kind == "label" else explained <= binom.ppf(0.999, sets, 0.05)


@pytest.mark.slow
def test_clusters_that_fail_with_their_label_are_explained_by_it() -> None:
    sets = 40
    evidence = [halves(UDIS(), null_predictions("label", 2000, seed))[0] for seed in range(sets)]
    assert sum(any_of(held, "confirmed") for held in evidence) <= binom.ppf(0.999, sets, 0.05)
    assert sum(any_of(held, "explained_by_label") for held in evidence) > 0.5 * sets


def test_only_a_planted_slice_is_confirmed() -> None:
    p, planted = planted_predictions(3.0, 2000, seed=0)
    found, _ = halves(UDIS(), p)
    inside = UDIS().fit(p.take(np.arange(1000))).membership(p.take(np.arange(1000, 2000))).T
    shares = inside @ planted[1000:] / inside.sum(axis=1)
    assert (shares > 0.9).any()
    assert [one.verdict == "confirmed" for one in found] == (shares > 0.5).tolist()


def test_null_predictions_have_the_stated_error_rates() -> None:
    for kind, lowest, highest in (("independent", 0.2, 0.2), ("label", 0.05, 0.5)):
        p = null_predictions(kind, 20_000, seed=0)
        wrong = [1 - p.correct[p.labels == label].mean() for label in range(5)]
        assert (min(wrong), max(wrong)) == pytest.approx((lowest, highest), abs=0.03)
    p, planted = planted_predictions(3.0, 20_000, seed=0)
    assert planted.mean() == pytest.approx(0.05, abs=0.01)
    assert set(p.labels[planted].tolist()) == {0}
    assert 1 - p.correct[planted].mean() == pytest.approx(0.6, abs=0.05)
    assert 1 - p.correct[~planted].mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.slow
@pytest.mark.optional  # what it measures is tested above
def test_the_benchmark_writes_its_tables_into_a_page_and_resumes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- null sets -->\nold\n<!-- end of null sets -->\nafter\n")
    script = ROOT / "benchmarks" / "null_sets.py"

    def run(sets: int) -> int:
        words = ["--methods", "udis", "--sets", str(sets), "--jobs", "1", "--docs", str(page)]
        subprocess.run([sys.executable, script, *words], check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
        return len((tmp_path / "outputs" / "null_sets.jsonl").read_text().splitlines())

    assert [run(2), run(4), run(4)] == [
        6,
        12,
        12,
    ]  # two kinds of null sets, and two of planted sets with half as many each
    text = page.read_text()
    assert text.startswith("before\n<!-- null sets -->\n\n| method |")
    assert text.endswith("<!-- end of null sets -->\nafter\n")
    assert "old" not in text
    rows = [line.split(" | ")[:3] for line in text.splitlines() if line.startswith("| udis")]
    assert rows == [
        ["| udis", "nothing", "4"],
        ["| udis", "the label", "4"],
        ["| udis", "×2", "2"],
        ["| udis", "×3", "2"],
    ]
