"""Two runs compared: what is fixed, persists and is new, on examples with a known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from report_pages import Reader, chromium, needs_chromium, opened
from weakspot import Findings, Predictions, Slices
from weakspot.app.run_index import RunIndex
from weakspot.evaluation.contrasts import Contrast, accuracy_contrast
from weakspot.evaluation.differences import Difference, correlation, difference, match_label_mix
from weakspot.findings.compare_slices import compare_slices, status_of
from weakspot.findings.comparison import Comparison, SlicePerformance
from weakspot.findings.numbers import THIN, signed
from weakspot.findings.runs_to_compare import RunToCompare, check_comparable
from weakspot.methods.kmeans import Kmeans
from weakspot.pipeline.fail_if import FailIf
from weakspot.report.compare import render_comparison
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification, Regression

N = 1200
GROUPS = np.random.default_rng(0).integers(0, 6, N)
LABELS = np.random.default_rng(1).integers(0, 2, N)


def predictions(failing: dict[int, float], seed: int, ids: list[str] | None = None, **more) -> Predictions:
    """A model that is right on 90 % of the examples, except in groups with an accuracy of their own."""
    rng = np.random.default_rng(seed)
    accuracy = np.array([failing.get(group, 0.9) for group in GROUPS])
    right = rng.random(N) < accuracy
    return Predictions.from_arrays(
        **{
            "embeddings": rng.normal(size=(N, 3)) + 8 * np.eye(6, 3)[GROUPS],
            "labels": LABELS,
            "predictions": np.where(right, LABELS, 1 - LABELS),
            "losses": np.where(right, 0.1, 2.0) + 0.01 * rng.random(N),
            "ids": ids or [f"example-{i}" for i in range(N)],
            "task": Classification(("cat", "dog")),
            "manifest": {"dataset": "pets", "model": "net"},
        }
        | more
    )


def reading(name: str, p: Predictions, groups: list[int], searched: float = 0.5) -> RunToCompare:
    """A run that searched a part of the examples and found these groups."""
    weights = np.array([group == GROUPS for group in groups], dtype=float).reshape(len(groups), N)
    searched_mask = np.arange(N) < searched * N
    return RunToCompare(
        name, Slices("kmeans", p.ids, weights, describe(weights, p), searched=searched_mask), p
    )


BEFORE, AFTER = {0: 0.2, 1: 0.3}, {1: 0.3, 2: 0.2}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Group 0 is fixed, group 1 is not, and group 2 is newly broken; group 3 never failed."""
    return compare_slices(
        reading("old", predictions(BEFORE, 0), [0, 1, 3]),
        reading("new", predictions(AFTER, 1), [1, 2]),
        command="python discover.py compare=[old,new]",
    )


def test_a_slice_is_named_after_its_finding_with_its_coverage():
    old = reading("old", predictions(BEFORE, 0), [0])
    one = Findings.build(old.predictions, old.slices).findings[0]
    named = replace(one, name="pen = felt", covers=0.53, holds_for=0.6, labels=())
    compared = compare_slices(replace(old, findings=(named,)), reading("new", predictions(AFTER, 1), [1]))
    names = [each.name for each in compared.slices if each.found == "before"]
    assert names
    assert all(name.endswith(f" (53{THIN}% of pen = felt, among others)") for name in names)


def statuses(comparison: Comparison) -> set[tuple[str, int, str]]:
    return {(one.found, one.slice, one.status) for one in comparison.slices}


def test_slices_are_fixed_persisting_or_new(comparison):
    assert statuses(comparison) - {("before", 3, "unclear")} == {
        ("before", 1, "fixed"),
        ("before", 2, "persisting"),
        ("after", 1, "persisting"),
        ("after", 2, "new"),
    }
    assert comparison.title == "2 fixed, 2 persisting, 2 new"  # a slice with two labels counts once per label


def test_slices_are_measured_on_examples_that_their_run_did_not_search(comparison):
    assert comparison.paired
    assert comparison.tested == {"before": N // 2, "after": N // 2}
    old = predictions(BEFORE, 0)
    rows = (np.arange(N) >= N // 2) & (GROUPS == 0) & (LABELS == 1)
    one = next(one for one in comparison.slices if (one.found, one.slice, one.label) == ("before", 1, "dog"))
    assert one.before is not None
    assert one.before.examples == rows.sum()
    assert one.before.inside.inside == pytest.approx(old.correct[rows].mean())


def test_persisting_slices_of_both_runs_refer_to_each_other(comparison):
    by_number = {(one.found, one.number): one for one in comparison.slices}
    for one in comparison.slices:
        if one.status == "persisting":
            other = by_number["after" if one.found == "before" else "before", one.same_as]
            assert other.label == one.label
            assert other.status == "persisting"
    assert {one.same_as for one in comparison.slices if one.status == "new"} == {None}


def test_equally_good_models_have_hardly_any_fixed_or_new_slices():
    """Among 12 pairs of models that are equally good everywhere, at most one has a fixed or new slice."""
    claimed = 0
    for seed in range(12):
        old, new = (predictions({}, 100 + 2 * seed + i) for i in range(2))
        found = compare_slices(reading("old", old, [0, 1]), reading("new", new, [2, 3]))
        claimed += any(status in ("fixed", "new") for _, _, status in statuses(found))
    assert claimed <= 1


@pytest.mark.parametrize("failing", [BEFORE, {0: 0.0, 1: 0.3}])
def test_two_searches_of_the_same_model_show_no_change(failing):
    """The same answers, searched in another embedding and with losses that are rounded differently."""
    p = predictions(failing, 0)
    again = replace(p, embeddings=p.embeddings[:, ::-1] ** 2, losses=p.losses * (1 + 1e-6))
    found = compare_slices(reading("old", p, [0, 1]), reading("new", again, [0, 2]))
    assert "Both runs read the same model's answers" in found.notes[0]
    for change in (found.change, *(one.change for one in found.slices)):
        assert (change.value, change.interval) == (0.0, (0.0, 0.0))
    assert {one.status for one in found.slices} <= {"persisting", "unclear"}


def test_models_that_agree_on_all_examples_are_not_assumed_to_be_the_same(comparison):
    """Equal losses of 0 and 1 do not identify a model, and different weights are a different model."""
    p = predictions(BEFORE, 0)
    manifests = [{"made_from": {"weights": name}} for name in ("a", "b")]
    rough = replace(p, losses=1.0 - p.correct)
    for one, other in ((rough, rough), [replace(p, manifest=manifest) for manifest in manifests]):
        found = compare_slices(reading("old", one, [0]), reading("new", other, [0]))
        assert not found.notes
        low, high = found.slices[0].change.interval
        assert low < 0 < high
    assert not comparison.notes


def test_a_slice_is_not_fixed_without_enough_evidence():
    """So few examples are held out that half of the gap could well remain."""
    p = predictions({0: 0.0}, 0)
    few = np.flatnonzero(GROUPS == 0)[:150]
    rows = np.concatenate([few[-12:], np.flatnonzero(GROUPS != 0)[-300:]])
    held = np.zeros(N, dtype=bool)
    held[rows] = True
    before = reading("old", p, [0])
    before = replace(before, slices=replace(before.slices, searched=~held))
    after = replace(before, run="new", predictions=predictions({0: 0.65}, 5))
    assert ("before", 1, "fixed") not in statuses(compare_slices(before, after))


def test_runs_on_different_examples_are_compared_by_the_embedding():
    names = [f"other-{i}" for i in range(N)]
    p = predictions(AFTER, 1, ids=names)
    old = predictions(BEFORE, 0)
    half = np.arange(N) < N // 2
    found = Kmeans(n_clusters=6, n_slices=2).fit(old.take(half)).slices_
    weights = Kmeans.apply(found, old).T
    carried = found.carry_over(weights, old, np.flatnonzero(half))
    nothing = reading("new", p, [], searched=0)
    result = compare_slices(RunToCompare("old", carried, old), nothing)
    assert not result.paired
    assert result.tested == {"before": N // 2, "after": N}
    assert "they are assumed to be of one model" in " ".join(result.notes)
    by_weights = [{"made_from": {"weights": weights}} for weights in ("a", "b")]
    old, p = (replace(one, manifest=manifest) for one, manifest in zip((old, p), by_weights, strict=True))
    with pytest.raises(ValueError, match="no example in common and are of different weights"):
        compare_slices(RunToCompare("old", carried, old), replace(nothing, predictions=p))


def test_runs_that_cannot_be_compared_are_refused_with_the_reason():
    old, new = reading("old", predictions(BEFORE, 0), [0]), reading("new", predictions(AFTER, 1), [1])
    other = predictions(AFTER, 1, labels=1 - LABELS)
    with pytest.raises(ValueError, match=r"1200 of the 1200 examples .* have other labels"):
        compare_slices(old, reading("new", other, [1]))
    with pytest.raises(ValueError, match="old searched all but 0 of the 1200 examples"):
        compare_slices(reading("old", predictions(BEFORE, 0), [0], searched=1), new)
    numbers = Predictions.from_arrays(
        np.zeros((N, 3)), labels=LABELS * 1.5, predictions=LABELS * 1.0, task=Regression()
    )
    with pytest.raises(ValueError, match="of different tasks"):
        compare_slices(old, reading("new", numbers, [1]))


def losses_alone() -> Predictions:
    p = predictions(AFTER, 1)
    return Predictions.from_arrays(p.embeddings, p.losses, labels=LABELS, ids=p.ids, task=p.task)


def numbers_of(task: Regression) -> Predictions:
    return Predictions.from_arrays(np.zeros((N, 3)), labels=LABELS * 1.5, predictions=LABELS * 1.0, task=task)


@pytest.mark.parametrize(
    ("old", "new", "measures"),
    [
        (predictions(BEFORE, 0), losses_alone(), ("accuracy", "loss")),
        (numbers_of(Regression()), numbers_of(Regression(loss="absolute")), ("RMSE", "MAE")),
        (
            numbers_of(Regression(loss="absolute")),
            numbers_of(Regression(loss="pinball", quantile=0.9)),
            ("MAE", "MAE at the quantile 0.9"),
        ),
    ],
)
def test_runs_of_different_measures_are_refused(old, new, measures):
    before, after = reading("old", old, [0]), reading("new", new, [1])
    for runs, (one, other) in (((before, after), measures), ((after, before), measures[::-1])):
        with pytest.raises(
            ValueError, match=f"{runs[0].run} is measured by its {one}, {runs[1].run} by its {other}; "
        ):
            check_comparable(*runs)
    assert check_comparable(before, before) == check_comparable(after, after) == (True, [])


def test_a_gate_on_new_slices_decides_by_the_task_before_a_model_is_run():
    expected = Predictions.from_arrays(
        np.zeros((N, 3)),
        labels=LABELS,
        ids=[f"example-{i}" for i in range(N)],
        task=Classification(("cat", "dog")),
    )
    FailIf(new_against=reading("old", predictions(BEFORE, 0), [0])).check(expected, Kmeans())
    with pytest.raises(ValueError, match="old is measured by its loss, this run by its accuracy"):
        FailIf(new_against=reading("old", losses_alone(), [0])).check(expected, Kmeans())
    numbers = numbers_of(Regression())
    unpredicted = replace(numbers, predictions=None, losses=None)
    FailIf(new_against=reading("old", numbers, [0])).check(unpredicted, Kmeans())
    absolute = reading("old", numbers_of(Regression(loss="absolute")), [0])
    with pytest.raises(ValueError, match="old is measured by its MAE, this run by its RMSE"):
        FailIf(new_against=absolute).check(unpredicted, Kmeans())


def test_regressions_are_compared_by_their_rmse():
    def numbers(noise, seed):
        y = np.random.default_rng(9).normal(size=N)
        rng = np.random.default_rng(seed)
        said = y + rng.normal(size=N) * np.where(GROUPS == 0, noise, 1)
        x = rng.normal(size=(N, 3))
        return Predictions.from_arrays(x, labels=y, predictions=said, task=Regression())

    found = compare_slices(
        reading("old", numbers(5, 0), [0]), replace(reading("new", numbers(1, 1), []), run="new")
    )
    assert found.measure == "rmse"
    (one,) = found.slices
    assert one.status == "fixed"
    assert one.before.inside.inside == pytest.approx(5, rel=0.15)
    assert one.change.interval[1] < -2
    assert "the RMSE was" in one.sentence
    assert "The others of similar labels:" in Reader(render_comparison(found)).words


def test_a_saved_comparison_is_loaded_unchanged_and_other_schemas_are_refused(comparison, tmp_path):
    file = comparison.save(tmp_path)
    assert Comparison.load(tmp_path) == comparison
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 7'))
    with pytest.raises(ValueError, match="has schema 7, and this version of weakspot reads 1"):
        Comparison.load(tmp_path)


def test_the_interval_of_a_difference_covers_the_true_value():
    """Coverage of paired and independent differences of accuracies, over the usual range of sizes."""
    rng = np.random.default_rng(0)
    everything = np.zeros(60)
    for together in (0.0, 0.7):
        held = 0
        for _ in range(400):
            common = rng.random(60) < together
            one = rng.random(60) < 0.9
            other = np.where(common, one & (rng.random(60) < 0.8), rng.random(60) < 0.72)
            a, b = (accuracy_contrast(right, np.ones(60), everything, None) for right in (one, other))
            r = correlation(one.astype(float), other.astype(float), np.ones(60))
            low, high = difference(a, b, r).interval
            held += low <= -0.18 <= high
        assert held / 400 >= 0.93


def test_a_difference_has_the_published_interval():
    """Newcombe (1998), independent proportions, 56 of 70 against 48 of 80, method 10: 0.0524 to 0.3339."""
    a, b = (
        accuracy_contrast(np.arange(n) < k, np.ones(n), np.zeros(n), None) for k, n in ((48, 80), (56, 70))
    )
    assert difference(a, b).interval == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_label_mix_outside_is_matched_to_the_one_inside():
    codes = np.array([0, 0, 1, 1, 2])
    inside, outside = np.array([3.0, 0, 1, 0, 0]), np.array([0, 1.0, 0, 4, 5])
    weights = match_label_mix(inside, outside, codes)
    np.testing.assert_allclose(weights, [0, 3, 0, 1, 0])
    assert match_label_mix(inside, outside, None) is outside


@pytest.mark.parametrize(
    ("other", "gap", "change", "status"),
    [
        ("not_confirmed", (-0.1, 0.1), (0.3, 0.6), "fixed"),
        ("not_confirmed", (-0.1, 0.4), (0.3, 0.6), "unclear"),  # half of the gap may be left
        ("not_confirmed", (-0.1, 0.1), (-0.1, 0.6), "unclear"),  # the change may be due to chance
        ("confirmed", (0.3, 0.7), (0.1, 0.3), "persisting"),
        ("too_few", (-0.2, 0.9), (-0.3, 0.9), "unclear"),
    ],
)
def test_a_status_needs_evidence(other, gap, change, status):
    inside = Contrast(0.4, 0.9, (0.3, 0.5))
    own = SlicePerformance("confirmed", 0.001, 50.0, inside, Difference(0.5, (0.4, 0.6)))
    there = SlicePerformance(other, 0.5, 50.0, inside, Difference(sum(gap) / 2, gap))
    assert status_of("before", own, there, Difference(sum(change) / 2, change), "accuracy") == status
    as_new = {"fixed": "new"}.get(status, status)
    fell = tuple(-bound for bound in reversed(change))
    assert status_of("after", own, there, Difference(sum(fell) / 2, fell), "accuracy") == as_new
    unsure = replace(own, verdict="not_confirmed")
    assert status_of("before", unsure, there, Difference(0.5, change), "accuracy") == "unclear"


@pytest.mark.parametrize(
    ("value", "share", "text"),
    [(0.123, True, "+12"), (-0.004, True, "−0.4"), (0.0001, True, "±0"), (-0.1834, False, "−0.183")],
)
def test_a_difference_shows_its_sign(value, share, text):
    assert signed(value, share) == text


def test_the_page_shows_the_slices_and_escapes_their_names(comparison):
    nasty = replace(comparison.slices[0], name="<script>alert(1)</script>")
    words = Reader(render_comparison(replace(comparison, slices=(nasty, *comparison.slices[1:])))).words
    assert "2 fixed, 2 persisting, 2 new" in words
    assert "<script>alert(1)</script>" in words
    for one in comparison.slices[1:]:
        assert one.name in words
    assert "None." in Reader(render_comparison(replace(comparison, slices=()))).words


def test_a_comparison_is_listed_among_the_runs(comparison, tmp_path):
    for name, page in (("both", render_comparison(comparison)), ("page alone", "<p>")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "compare.html").write_text(page, encoding="utf-8")
    comparison.save(tmp_path / "both")
    (run,) = RunIndex([tmp_path]).all()
    assert (run.method, run.title, run.report.name) == ("compare", comparison.title, "compare.html")
    file = tmp_path / "both" / "compare.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"paired":', '"peered":'), encoding="utf-8")
    (run,) = RunIndex([tmp_path]).all()
    assert (run.title, run.is_comparison) == ("", True)
    assert run.damage.startswith(f"{file} cannot be read: paired: ")


@needs_chromium
def test_the_page_makes_no_requests_and_fits_the_window(comparison, tmp_path):
    with chromium() as browser:
        for width in (1200, 380):
            tab, requests, complaints = opened(browser, tmp_path, render_comparison(comparison), width)
            assert not [url for url in requests if not url.startswith("file:")]
            assert not complaints
            assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
