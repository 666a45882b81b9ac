"""Findings on planted data: they are correct, saved completely, and the same in every output."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from dataclasses import replace
from html import unescape
from inspect import signature
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from weakspot import UDIS, Findings, Predictions, Scan, Slices, Spotlight
from weakspot.evaluation.contrasts import accuracy_contrast
from weakspot.evaluation.synthetic import null_predictions
from weakspot.explain.attributes import Accuracy
from weakspot.findings import VERDICTS, Media
from weakspot.findings.audited_examples import audit_examples
from weakspot.findings.build import build
from weakspot.findings.export import ExampleTable
from weakspot.findings.group_descriptions import GroupDescriber
from weakspot.findings.memberships import read_memberships
from weakspot.findings.numbers import THIN, decimal, percent, share_of
from weakspot.findings.sentences import finding_sentence
from weakspot.methods import apply
from weakspot.pipeline.discover import discover
from weakspot.pipeline.fail_if import FailIf
from weakspot.pipeline.search import plan_search
from weakspot.predictions.reading import DamagedError
from weakspot.report import render
from weakspot.report.points import points_of
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification, Multilabel, Rating, Regression
from weakspot.tracking.console import findings_summary
from weakspot.tracking.scalars import scalars
from weakspot.tracking.tables import findings_tables


def failing(n=1200, seed=0, **extra):
    """A classifier that fails on people over seventy in Lima, who lie together in its embedding."""
    rng = np.random.default_rng(seed)
    age, city = rng.integers(18, 90, n), rng.choice(["Lima", "Quito"], n)
    label = rng.integers(0, 2, n)
    planted = (age > 70) & (city == "Lima")
    right = rng.random(n) < np.where(planted, 0.15, 0.95)
    x = rng.normal(size=(n, 12))
    x[planted, :3] += 4
    p = Predictions.from_arrays(
        x,
        losses=np.where(right, 0.1, 2.0) + rng.exponential(0.1, n),
        labels=label,
        predictions=np.where(right, label, 1 - label),
        ids=[f"p{i}" for i in range(n)],
        attributes=pa.table({"age": age, "city": city, "answer": np.array(["no", "yes"])[label]}),
        task=Classification(("no", "yes")),
        **extra,
    )
    return p, planted


def printed_summary(findings):
    """The summary as the console prints it."""
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(findings_summary(findings))
    return console.export_text()


def run(p, tmp_path, method=None, **settings):
    return discover(method or Spotlight(search="published", steps=1500), p, tmp_path, **settings)


@pytest.fixture(
    scope="module",
    params=[Scan(), Spotlight(search="published", steps=1500), UDIS()],
    ids=["scan", "spotlight", "udis"],
)
def found(request, tmp_path_factory):
    p, planted = failing()
    folder = tmp_path_factory.mktemp("run")
    return p, planted, folder, run(p, folder, request.param)


def test_the_planted_failure_is_the_only_confirmed_finding_and_is_named(found):
    _, planted, _, findings = found
    confirmed = [finding for finding in findings.findings if finding.confirmed]
    assert [finding.name for finding in confirmed] == ["age > 70 and city = Lima"]
    (one,) = confirmed
    assert one.examples == pytest.approx(planted.sum(), rel=0.15)
    assert one.accuracy.interval[0] <= 0.15 <= one.accuracy.interval[1]
    assert one.accuracy.outside == pytest.approx(0.95, abs=0.03)
    assert "Where the model fails" in findings.title


def test_the_share_of_errors_is_computed_from_the_members(found):
    p, _, _, findings = found
    table = findings.memberships.to_pylist()
    for finding in findings.findings:
        rows = [r["row"] for r in table if r["group"] == "finding" and r["number"] == finding.number]
        weights = [r["weight"] for r in table if r["group"] == "finding" and r["number"] == finding.number]
        assert finding.examples == pytest.approx(sum(weights))
        assert finding.errors_explained == pytest.approx(
            np.dot(weights, ~p.correct[rows]) / (~p.correct).sum()
        )
    explained = [finding.errors_explained for finding in findings.findings]
    assert explained == sorted(explained, reverse=True)


def test_the_accuracy_of_an_attribute_value_has_a_wilson_interval(found):
    p, _, folder, findings = found
    lima = next(line for line in findings.whole.weak_values if line.value == "Lima")
    rows = np.array(p.attributes["city"].to_pylist()) == "Lima"
    expected = accuracy_contrast(p.correct, rows * 1.0, ~rows * 1.0, None)
    assert lima.accuracy == pytest.approx(expected.inside)
    assert lima.interval == pytest.approx(expected.interval)
    low, high = map(percent, lima.interval)
    assert f">{low} to {high}</td>" in unescape((folder / "report.html").read_text("utf-8"))


def test_an_interval_counts_only_effective_rows():
    """Rows with a count of ten each give the same interval as rows without counts."""
    p, _ = failing(400)
    heavy = replace(p, counts=np.full(len(p), 10.0))
    once, tenfold = (
        {
            (line.attribute, line.value): line.interval
            for line in GroupDescriber(
                audit_examples(UDIS().audited(q), better=False, category=False), (), None, False
            ).weak_values()
        }
        for q in (p, heavy)
    )
    both = once.keys() & tenfold.keys()
    assert both
    for value in both:
        assert tenfold[value] == pytest.approx(once[value])


def test_memberships_state_which_examples_were_searched(found, tmp_path):
    _, _, folder, findings = found
    slices = Slices.load(folder / "slices")
    table = findings.memberships
    np.testing.assert_array_equal(table["searched"].to_numpy(), slices.searched_mask[table["row"].to_numpy()])
    assert set(table["searched"].to_pylist()) == {True, False}
    assert findings.describes(slices)
    old = tmp_path / "memberships.parquet"
    pq.write_table(table.drop_columns(["searched"]), old)  # as an earlier version wrote it
    read = read_memberships(old)
    assert read["searched"].null_count == len(read)
    assert replace(findings, memberships=read).describes(slices)


def test_memberships_without_a_column_or_with_shares_for_searched_are_damaged(found, tmp_path):
    table = found[3].memberships
    file = tmp_path / "memberships.parquet"
    pq.write_table(table.drop_columns(["weight"]), file)
    with pytest.raises(
        DamagedError, match=r"memberships\.parquet: column 'weight' is missing; run discover\.py again"
    ):
        read_memberships(file)
    halves = pa.array(np.full(len(table), 0.5))
    pq.write_table(table.set_column(table.column_names.index("searched"), "searched", halves), file)
    with pytest.raises(
        DamagedError, match=r"column 'searched' is double, and must be boolean; run discover\.py again"
    ):
        read_memberships(file)
    nulls = pa.nulls(len(table))
    pq.write_table(table.set_column(table.column_names.index("searched"), "searched", nulls), file)
    assert read_memberships(file)["searched"].null_count == len(table)


def test_saved_and_loaded_findings_are_equal(found):
    _, _, folder, findings = found
    assert Findings.load(folder).equals(findings)
    said = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    assert said["schema"] == 1
    assert said["findings"][0]["name"] == findings.findings[0].name
    assert {"p", "p_corrected", "verdict", "parts", "top_examples", "sentence", "errors_explained"} <= set(
        said["findings"][0]
    )
    assert {"inside", "outside", "interval"} <= set(said["findings"][0]["accuracy"])


def test_text_in_the_file_is_not_escaped(tmp_path):
    p, _ = failing(n=400)
    renamed = Predictions.from_arrays(
        p.embeddings,
        losses=p.losses,
        labels=p.labels,
        predictions=p.predictions,
        attributes={"größe": p.attributes["city"]},
        task=Classification(("<5", "≥5")),
    )
    run(renamed, tmp_path)
    text = (tmp_path / "findings.json").read_text(encoding="utf-8")
    assert "größe" in text
    assert "≥5" in text


def test_an_attribute_that_restates_the_target_is_left_out(found):
    _, _, _, findings = found
    assert ("answer", "restates the target") in findings.whole.left_out
    named = {line.attribute for finding in findings.findings for line in finding.portrait.enrichment}
    assert "answer" not in named


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path):
    """A value that would clear the screen and rename the window is printed with its characters escaped."""
    p, planted = failing(n=400)
    hostile = Predictions.from_arrays(
        p.embeddings,
        losses=p.losses,
        labels=p.labels,
        predictions=p.predictions,
        attributes={"city": np.where(planted, "Lima\x1b[2J\x1b]0;owned\x07", "\u202eQuito")},
        task=Classification(("no", "yes")),
    )
    findings = run(hostile, tmp_path)
    console = Console(width=200, file=io.StringIO())
    console.print(findings_summary(findings))
    printed = console.file.getvalue()
    assert "Lima\\x1b[2J\\x1b]0;owned\\x07" in printed
    assert not set(printed) & {"\x1b", "\x07", "\u202e"}


def test_every_output_states_the_same(found):
    """The file, the report, the console and the logger have the same numbers and wording."""
    _, _, folder, findings = found
    page = (folder / "report.html").read_text(encoding="utf-8")
    said = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    printed = printed_summary(findings)
    numbers = scalars(findings)
    words = unescape(page)
    for finding, stored in zip(findings.findings, said["findings"], strict=True):
        assert stored["sentence"] == finding.sentence
        assert finding.sentence in words
        assert finding.subject in printed
        assert percent(stored["errors_explained"]) in printed
        assert percent(stored["accuracy"]["inside"]) in printed
        assert numbers[f"finding_{finding.number}/accuracy_inside"] == stored["accuracy"]["inside"]
        assert numbers[f"finding_{finding.number}/errors_explained"] == stored["errors_explained"]
    assert said["title"] in words
    assert said["title"] in printed
    assert said["confirmation"]["explanation"] in words
    assert re.sub(r"\s+", " ", said["confirmation"]["explanation"].replace(THIN, " ")) in re.sub(
        r"\s+", " ", printed.replace(THIN, " ")
    )
    assert numbers["confirmed/n"] == sum(f["verdict"] == "confirmed" for f in said["findings"])
    assert numbers["whole/accuracy"] == said["whole"]["accuracy"]
    assert share_of(said["whole"]["accuracy"], said["whole"]["examples"]) in words


def test_the_p_value_of_the_search_is_shown_beside_the_held_out_one(tmp_path):
    """The scan's own p-value is in the file, the report and the logger; without draws there is none to show."""
    p, _ = failing()
    findings = run(p, tmp_path, Scan())
    p_values = Slices.load(tmp_path / "slices").parameters["p_values"].tolist()
    assert [one.p_searched for one in findings.slices] == p_values
    assert p_values[0] == 1 / 200
    assert scalars(findings)["slice_1/p_searched"] == p_values[0]
    words = " ".join(unescape(render(findings)).replace(THIN, " ").split())  # lines may break anywhere
    assert "only just confirmed (p near 0.05), the numbers look worse than they are on average" in words
    assert "p in the search" in words
    assert words.count("chance alone would turn up a slice this extreme with p = 0.005") == p_values.count(
        1 / 200
    )
    without = run(p, tmp_path / "without", Scan(draws=0))
    assert {one.p_searched for one in without.slices} == {None}
    assert "p in the search" not in unescape(render(without))
    assert "slice_1/p_searched" not in scalars(without)
    told = [[one.evidence for one in findings.slices] for findings in (findings, without)]
    assert told[0] == told[1], "the verdict does not hang on it"


def test_a_report_of_loaded_findings_is_the_same_page(found):
    _, _, folder, findings = found
    assert render(Findings.load(folder)) == render(findings)


@pytest.mark.parametrize(
    "method",
    [
        Scan(),  # tests/evaluation/test_null_sets.py tests the others on noise at length
        pytest.param(Spotlight(search="published", steps=500), marks=pytest.mark.optional),
        pytest.param(UDIS(), marks=pytest.mark.optional),
    ],
    ids=["scan", "spotlight", "udis"],
)
def test_nothing_reliable_is_found_in_noise_in_19_of_20_runs(method, tmp_path):
    titles = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 500)
        right = rng.random(500) < 0.75
        p = Predictions.from_arrays(
            rng.normal(size=(500, 8)),
            losses=np.where(right, 0.1, 2) + rng.exponential(0.1, 500),
            labels=labels,
            predictions=np.where(right, labels, 1 - labels),
        )
        titles.append(run(p, tmp_path, method).title)
    assert titles.count("Nothing reliable was found") >= 19


def test_another_layer_is_suggested_if_nothing_was_confirmed_in_the_last_one(tmp_path):
    def notes(planted, **manifest):
        p, _ = failing(manifest=manifest)
        if not planted:
            p = replace(p, embeddings=np.random.default_rng(1).normal(size=p.embeddings.shape))
        found = run(p, tmp_path, Scan(n_slices=1))
        assert any(finding.confirmed for finding in found.findings) == planted
        return " ".join(found.notes)

    advice = "model.embed_layer=cam_layer"
    assert advice in notes(False, checkpoint="a/checkpoint")
    assert advice not in notes(False)  # given predictions: no option embeds them again
    assert advice not in notes(False, checkpoint="a/checkpoint", embedding="layer features")
    assert advice not in notes(True, checkpoint="a/checkpoint")


def test_losses_that_follow_the_label_alone_are_explained_by_it(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    right = rng.random(1000) < np.where(labels == 1, 0.4, 0.97)
    x = rng.normal(size=(1000, 6))
    x[:, 0] += 4 * labels
    p = Predictions.from_arrays(
        x, losses=np.where(right, 0.1, 2), labels=labels, predictions=np.where(right, labels, 1 - labels)
    )
    findings = run(p, tmp_path)
    assert {finding.verdict for finding in findings.findings} == {"explained_by_label"}
    assert "The label may explain that" in findings.findings[0].sentence
    assert findings.title == "Nothing reliable was found"


def test_a_confirmed_finding_states_the_loss_if_the_accuracy_may_be_the_same(tmp_path):
    p, _ = failing(seed=1)
    (one,) = (finding for finding in run(p, tmp_path).findings if finding.confirmed)

    def sentence(**changed):
        return finding_sentence(replace(one, **changed), True, "accuracy", "errors", False)

    assert "the model is right on" in sentence()
    inside, outside = one.accuracy.inside, one.accuracy.outside
    told = sentence(accuracy=replace(one.accuracy, interval=(inside - 0.1, outside + 0.01)))
    assert f"the mean loss is {decimal(one.loss.inside)} (95" in told
    assert f"held out), against {decimal(one.loss.expected)} of others with such labels; the accuracy" in told
    assert f"the accuracy, {percent(inside)} against {percent(outside)} elsewhere, may be the same" in told


def lead_of(findings, one):
    changed = tuple(one if other.number == one.number else other for other in findings.findings)
    page = unescape(render(replace(findings, findings=changed))).replace(THIN, " ")
    return " ".join(re.sub("<[^>]*>", "", page.partition('class="lead"')[2].partition("</p>")[0]).split())


def test_the_headline_states_the_loss_if_the_accuracy_may_be_the_same(tmp_path):
    p, _ = failing(seed=1)
    findings = run(p, tmp_path)
    (one,) = (finding for finding in findings.findings if finding.confirmed)
    assert "model is right on" in lead_of(findings, one)
    inside, outside = one.accuracy.inside, one.accuracy.outside
    equal = replace(one, accuracy=replace(one.accuracy, interval=(inside - 0.1, outside + 0.01)))
    lead = lead_of(findings, equal)
    assert f"mean loss is {decimal(one.loss.inside)}" in lead
    assert "; the accuracy may be the same. They hold" in lead


def test_a_slice_without_a_finding_has_the_same_verdict_in_its_table_and_section(tmp_path):
    """Even if its losses are significantly higher, it is not a finding while its accuracy is as good."""
    p, _ = failing(seed=1)
    page = unescape(render(findings := run(p, tmp_path)))
    apart = [one for one in findings.slices if one.finding is None]
    assert apart
    for one in apart:
        (summary,) = (
            text
            for text in re.findall("<summary>(.*?)</summary>", page, re.DOTALL)
            if f"{one.name} <" in text
        )
        assert re.findall(r'class="badge[^"]*">([^<]*)<', summary) == ["no worse"]


def test_an_attribute_value_links_to_a_finding_with_a_quarter_of_its_examples(tmp_path):
    p, _ = failing(seed=1)
    findings = run(p, tmp_path)
    (one,) = (finding for finding in findings.findings if finding.confirmed)
    line = one.portrait.enrichment[0]
    assert line.telling

    def found_in(size):
        weak = Accuracy(line.attribute, line.value, size, 0.5)
        shown = replace(findings, whole=replace(findings.whole, weak_values=(weak,)))
        page = unescape(render(shown)).partition('id="weak-title"')[2].partition("</section>")[0]
        return page.count(f'href="#finding-{one.number}"')

    assert found_in(4 * line.weight - 0.1) == 1
    assert found_in(4 * line.weight + 0.1) == 0


@pytest.fixture(scope="module")
def seen_everywhere(tmp_path_factory):
    """Show findings in every output, as text."""
    p, _ = failing(seed=1)
    folder = tmp_path_factory.mktemp("run")
    findings, slices = run(p, folder), Slices.load(folder / "slices")

    def seen(one):
        shown = replace(findings, findings=(one, *findings.findings[1:]))
        judged = replace(shown, findings=(replace(one, verdict="confirmed"),))
        table = ExampleTable(shown, slices, p).blocks()
        map_header = json.loads(points_of(shown, 10**7).data)["header"]
        return {
            "report": re.sub("<[^>]*>", "", unescape(render(shown))),
            "map": str(json.loads(gzip.decompress(base64.b64decode(map_header)))["names"].values()),
            "console": printed_summary(shown),
            "W&B": str(findings_tables(shown)["findings"]),
            "export": str({row for block in table for row in block["finding"].to_pylist()}),
            "gate": str(FailIf(accuracy_below=1.0).failures(judged)),
        }

    return findings.findings[0], seen


@pytest.mark.parametrize(
    ("covers", "holds_for", "subject"),
    [
        (0.53, 0.36, f"53{THIN}% of pen = felt, among others"),
        (0.53, 0.9, f"53{THIN}% of pen = felt"),
        (0.9, 0.89, "pen = felt, among others"),
        (0.9, 0.9, "pen = felt"),
        (None, None, "pen = felt"),
    ],
)
def test_every_output_shows_a_name_with_its_coverage(seen_everywhere, covers, holds_for, subject):
    """In headings, links, tables and sentences alike, as half of a group is not the group."""
    first, seen = seen_everywhere
    for verdict in ("confirmed", "not_confirmed"):
        one = replace(first, name="pen = felt", covers=covers, holds_for=holds_for, verdict=verdict)
        one = replace(one, sentence=finding_sentence(one, True, "accuracy", "errors", False))
        for door, text in seen(one).items():
            text = text.replace(r"\u202f", THIN)  # as repr writes it
            assert subject in text, door
            assert text.count("pen = felt") == text.count(subject), door


def test_a_name_cannot_reverse_the_direction_of_its_sentence(tmp_path):
    p, _ = failing(seed=1)
    one = replace(run(p, tmp_path).findings[0], name="colour = \u202ered")
    assert "(colour = \\u202ered)" in finding_sentence(one, True, "accuracy", "errors", False)


def test_without_a_test_nothing_is_confirmed(tmp_path):
    p, _ = failing()
    findings = run(p, tmp_path, confirm=0)
    assert findings.confirmation.mode == "off"
    assert not any(finding.confirmed for finding in findings.findings)
    assert all(finding.p is None for finding in findings.findings)
    assert all(finding.accuracy.interval is None for finding in findings.findings)
    assert "nothing was tested" in findings.title
    assert {finding.verdict for finding in findings.findings} == {"not_tested"}
    assert {one.evidence.verdict for one in findings.slices} == {"not_tested"}
    assert all(finding.held_out is None for finding in findings.findings)
    assert f"{len(findings.findings)} findings, not tested" in repr(findings)
    page, printed = (tmp_path / "report.html").read_text(encoding="utf-8"), printed_summary(findings)
    for words in (page, printed):
        assert "not tested" in words
        assert "not confirmed" not in words
        assert "held-out example" not in words
    assert "only just confirmed" not in page
    assert "held out" not in printed.partition("Nothing was tested")[0]
    assert "It was not tested." in page
    with pytest.raises(ValueError, match=r"because nothing was tested; search with confirm=0\.5"):
        FailIf(accuracy_below=0.5).failures(findings)


def test_too_few_examples_are_reported(tmp_path):
    p, _ = failing(n=30)
    findings = run(p, tmp_path)
    assert findings.confirmation.mode == "too_few"
    assert {one.evidence.verdict for one in findings.slices} == {"not_tested"}
    assert {finding.verdict for finding in findings.findings} <= {"not_tested"}
    assert findings.title == "Too few examples to find anything reliable"
    assert "takes 20 in each part" in findings.confirmation.explanation
    assert "(confirm=FILE) would test what was found" in findings.confirmation.explanation
    with pytest.raises(ValueError, match="nothing was tested: too few examples could be held out"):
        FailIf(accuracy_below=0.5).failures(findings)


def test_a_slice_that_is_a_whole_label_is_tested_against_all_examples():
    """No example outside such a slice has its label, so it is compared with all examples."""
    labels = np.arange(400) % 2
    weights = (labels == 1).astype(float)[None]
    right = np.random.default_rng(0).random(400) < np.where(labels == 1, 0.70, 0.73)
    p = Predictions.from_arrays(
        np.random.default_rng(1).normal(size=(400, 2)),
        labels=labels,
        predictions=np.where(right, labels, 1 - labels),
    )
    slices = Slices("scan", p.ids, weights, describe(weights, p))
    (one,) = Findings.build(p, slices, confirm=np.arange(400) % 4 < 2, projection="none").findings
    assert (one.verdict, one.p_corrected) == ("not_confirmed", None)
    assert one.sentence.endswith(
        "Not confirmed: chance may have done it, and too few others have such labels to compare with."
    )


def test_findings_of_earlier_versions_are_read_unchanged(tmp_path):
    p, _ = failing()
    run(p, tmp_path, confirm=0)
    file = tmp_path / "findings.json"
    said = json.loads(file.read_text(encoding="utf-8").replace('"not_tested"', '"not_confirmed"'))
    del said["seal"], said["checksums"]
    for finding in said["findings"]:
        del finding["held_out"], finding["confidence"]
    file.write_text(json.dumps(said), encoding="utf-8")
    findings = Findings.load(tmp_path)
    assert {finding.verdict for finding in findings.findings} == {"not_confirmed"}
    assert "held out" not in printed_summary(findings).partition("Nothing was tested")[0]
    assert render(findings)


def test_a_finding_states_on_how_many_held_out_examples_it_was_measured(found):
    _, planted, folder, findings = found
    held_out = ~Slices.load(folder / "slices").searched_mask
    (one,) = (finding for finding in findings.findings if finding.confirmed)
    assert one.held_out == pytest.approx((planted & held_out).sum(), rel=0.15)
    assert f"Measured on {one.held_out:.0f} held-out examples." in unescape(
        (folder / "report.html").read_text("utf-8")
    )
    (row,) = (line for line in printed_summary(findings).splitlines() if one.subject in line)
    assert [cell.strip() for cell in row.split("│")][2:4] == [one.size_text, f"{one.held_out:.0f}"]
    assert scalars(findings)[f"finding_{one.number}/held_out"] == one.held_out


def test_a_finding_states_the_confidence_inside_and_outside(tmp_path):
    """The model's confidence is 60 % on the planted examples that it fails on and 90 % on all others."""
    p, planted = failing()
    sure = np.where(planted, 0.6, 0.9)
    outputs = np.zeros((len(p), 2))
    outputs[np.arange(len(p)), p.predictions] = np.log(sure / (1 - sure))
    findings = run(replace(p, outputs=outputs), tmp_path)
    (one,) = (finding for finding in findings.findings if finding.confirmed)
    inside, (low, high) = one.confidence.inside, one.confidence.interval
    assert inside == pytest.approx(0.6, abs=0.03)
    assert low <= inside <= high
    assert one.confidence.outside == pytest.approx(0.9, abs=0.01)
    assert "Mean confidence" in (tmp_path / "report.html").read_text("utf-8")
    assert scalars(findings)[f"finding_{one.number}/confidence_inside"] == inside
    assert Findings.load(tmp_path).findings == findings.findings


def test_without_outputs_or_with_several_labels_no_confidence_is_stated(tmp_path):
    p, _ = failing()
    (one,) = (finding for finding in run(p, tmp_path / "a").findings if finding.confirmed)
    assert one.confidence is None
    assert "Mean confidence" not in (tmp_path / "a" / "report.html").read_text("utf-8")
    several = Predictions.from_arrays(
        p.embeddings,
        losses=p.losses,
        labels=np.stack([p.labels, p.labels], axis=1),
        outputs=np.where(np.stack([p.predictions, p.predictions], axis=1) == 1, 3.0, -3.0),
        task=Multilabel(("old", "tall")),
    )
    findings = run(several, tmp_path / "b").findings
    assert findings
    assert all(finding.confidence is None for finding in findings)


def test_small_weights_are_not_stated_as_a_number_of_examples(found):
    """Forty examples that belong to a finding with a weight of, say, 0.01 each."""
    *_, findings = found
    one = next(finding for finding in findings.findings if finding.confirmed)
    portrait = replace(one.portrait, members=40)
    for examples, size, extent in (
        (0.4, "0.4", "40 examples of weight 0.4 in all"),
        (0.004, f"<{THIN}0.1", f"40 examples of weight <{THIN}0.1 in all"),
        (1.02, "1", "40 examples of weight 1 in all"),
        (1.2, "1.2", "40 examples of weight 1.2 in all"),
        (1.0, "1", "1 example"),
        (1.6, "2", "about 2 examples"),
        (56.3, "56", "about 56 examples"),
    ):
        changed = replace(one, examples=examples, portrait=portrait)
        assert (changed.size_text, changed.extent_text) == (size, extent)
        sentence = finding_sentence(changed, True, "accuracy", "errors", False)
        assert sentence.startswith(f"{extent[:1].upper()}{extent[1:]} (")
        assert ("It holds" in sentence) == (extent == "1 example")
        told = replace(changed, sentence=sentence)
        page = render(replace(findings, findings=tuple(told if f is one else f for f in findings.findings)))
        assert f"It extends over {extent}," in unescape(page)
        assert f"{extent} (<a" in unescape(page)
    uncertain = replace(one, verdict="too_few", examples=3.25, portrait=portrait)
    assert uncertain.extent_text == "40 examples of weight 3.2 in all"
    single = replace(one, examples=0.4, portrait=replace(one.portrait, members=1))
    sentence = finding_sentence(single, True, "accuracy", "errors", False)
    assert sentence.startswith("1 example of weight 0.4 (")
    assert "It holds" in sentence
    five_times = replace(single, examples=5.0, verdict="too_few")  # one row that stands for five examples
    assert (five_times.extent_text, five_times.is_single) == ("5 examples", False)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("p_corrected", [0.2, None])
def test_a_single_example_is_described_in_the_singular(found, verdict, p_corrected):
    *_, findings = found
    several = replace(findings.findings[0], verdict=verdict, p_corrected=p_corrected)
    single = replace(several, examples=1.0, portrait=replace(several.portrait, members=1))
    plural, singular = (
        finding_sentence(replace(one, loss=None), True, "accuracy", "errors", False)
        for one in (several, single)
    )
    assert re.search(r"\bof them\b.*\bThey hold\b", plural)
    assert not re.search(r"\b(them|they|these|are)\b", singular, re.IGNORECASE)
    assert re.search(r"\bof it\b.*\bIt holds\b", singular)


def test_the_sentence_states_that_a_finding_could_not_be_measured(found):
    *_, findings = found
    unmeasured = replace(findings.findings[0], accuracy=None, loss=None, error=None)
    for others in ("", "split val"):
        sentence = finding_sentence(unmeasured, True, "accuracy", "errors", False, others)
        assert "no such example could be measured. They hold" in sentence


def test_no_measurement_is_shown_without_held_out_examples(found):
    *_, findings = found
    empty = tuple(replace(one, held_out=0.0, accuracy=None, loss=None) for one in findings.findings)
    assert "Measured on" not in render(replace(findings, findings=empty))


def test_the_public_and_the_internal_build_take_the_same_settings():
    """`Findings.build` declares their defaults; the `build` that it calls takes the same settings without defaults."""
    public, own = signature(Findings.build).parameters, signature(build).parameters
    assert list(public) == list(own)
    assert all(one.annotation == own[name].annotation for name, one in public.items() if name != "created")
    assert all(one.default is one.empty for one in own.values())


def test_findings_and_slices_record_the_same_provenance_of_the_predictions(found):
    p, _, folder, findings = found
    recorded = json.loads(json.dumps(p.provenance))
    assert recorded["task"] == p.task.to_dict()
    assert findings.provenance["predictions"] == recorded
    assert Slices.load(folder / "slices").provenance["predictions"] == recorded


def test_slices_of_the_whole_set_are_tested_on_another_set(tmp_path):
    p, planted = failing(seed=1)
    other, _ = failing(seed=2)
    findings = run(p, tmp_path, confirm=other, source="split val")
    assert findings.confirmation.mode == "other"
    assert (findings.confirmation.searched, findings.confirmation.tested) == (len(p), len(other))
    assert "split val" in findings.confirmation.explanation
    (one,) = (finding for finding in findings.findings if finding.confirmed)
    assert one.examples == pytest.approx(planted.sum(), rel=0.15)
    assert findings.confirmation.on_others
    assert "on split val, the model is right on " in one.sentence
    assert " of such examples (95" in one.sentence
    lead = unescape((tmp_path / "report.html").read_text("utf-8")).partition('class="lead"')[2]
    assert "On split val, the\n" in lead
    assert f"Among those audited these are {one.extent_text}, with" in lead
    assert not any("split train" in note for note in findings.notes)


def test_a_test_on_training_examples_adds_a_warning_note(tmp_path):
    p, _ = failing(seed=1)
    other, _ = failing(seed=2)
    learnt = replace(other, manifest={**other.manifest, "split": "train"})
    findings = run(p, tmp_path, confirm=learnt, source="split train")
    assert any("come from the split train" in note for note in findings.notes)


def test_examples_of_a_group_are_all_searched_or_all_held_out(tmp_path):
    rng = np.random.default_rng(0)
    p, _ = failing(n=600)
    patient = rng.integers(0, 60, 600)
    grouped = Predictions.from_arrays(
        p.embeddings,
        losses=p.losses,
        labels=p.labels,
        predictions=p.predictions,
        attributes={"patient": patient},
    )
    held = plan_search(UDIS(), grouped, 0.5, group="patient").held_out
    assert all(len(set(held[patient == one].tolist())) == 1 for one in range(60))
    assert 0.3 < held.mean() < 0.7


def test_best_served_examples_are_confirmed_as_such(tmp_path):
    p, _ = failing()
    turned = Predictions.from_arrays(
        p.embeddings,
        losses=p.losses.max() - p.losses,
        labels=p.labels,
        predictions=1 - p.predictions,
        attributes=p.attributes,
        task=p.task,
    )
    findings = run(turned, tmp_path, Spotlight(n_slices=2, flip=True, starts=2))
    (one,) = (finding for finding in findings.findings if finding.confirmed)
    assert one.name == "age > 70 and city = Lima"
    assert one.accuracy.inside > one.accuracy.outside
    assert "does best" in findings.title


def test_ratings_and_numbers_are_stated_in_their_own_measure(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 6))
    failing_rows = rng.random(800) < 0.15
    x[failing_rows, :2] += 4
    truth = rng.normal(size=800)
    guess = truth + rng.normal(size=800) * np.where(failing_rows, 3.0, 0.3)
    p = Predictions.from_arrays(x, labels=truth, predictions=guess, task=Regression())
    method = Spotlight(n_slices=2, starts=2)
    findings = run(p, tmp_path / "numbers", method)
    (one,) = (finding for finding in findings.findings if finding.confirmed)
    assert one.accuracy is None
    assert findings.whole.measure == "rmse"
    assert findings.whole.error == pytest.approx(np.sqrt(np.mean((guess - truth) ** 2)))
    assert one.error.interval[0] < 3 < one.error.interval[1] + 0.5
    assert "the RMSE is" in one.sentence
    assert "RMSE" in (tmp_path / "numbers" / "report.html").read_text(encoding="utf-8")

    label = rng.integers(0, 5, 800)
    outputs = np.eye(5)[np.where(failing_rows, 4 - label, label)] * 4.0
    p = Predictions.from_arrays(x, labels=label, outputs=outputs, task=Rating(("1", "2", "3", "4", "5")))
    findings = run(p, tmp_path / "ratings", method)
    assert findings.whole.accuracy is None
    assert any(finding.confirmed for finding in findings.findings)


def test_a_category_audit_has_one_population(tmp_path):
    """All numbers are about the examples predicted to have the category, judged by that category alone."""
    rng = np.random.default_rng(0)
    n = 1500
    room = rng.integers(0, 3, n)
    labels = (rng.random((n, 3)) < 0.5).astype(int)
    said_bed = rng.random(n) < 0.8
    labels[:, 0] = np.where(said_bed, rng.random(n) < np.where(room == 0, 0.3, 0.95), 0)
    logits = np.where(labels == 1, 3.0, -3.0) + rng.normal(size=(n, 3))
    logits[:, 0] = np.where(said_bed, 3.0, -3.0)
    logits[:, 2] *= -1  # every dog is missed, which must not matter here
    p = Predictions.from_arrays(
        np.eye(3)[room] * 8 + rng.normal(size=(n, 3)),
        outputs=logits,
        labels=labels,
        attributes={"room": np.array(["attic", "cellar", "hall"])[room]},
        task=Multilabel(("bed", "person", "dog")),
    )
    findings = run(p, tmp_path, UDIS(category="bed"))
    audited = said_bed
    right = labels[:, 0] == 1
    assert findings.whole.n == audited.sum()
    assert findings.whole.record == n
    assert findings.whole.accuracy == pytest.approx(right[audited].mean())
    (one,) = (finding for finding in findings.findings if finding.confirmed)
    assert one.name == "room = attic"
    assert one.examples == pytest.approx((audited & (room == 0)).sum(), rel=0.1)
    assert one.errors_explained == pytest.approx(
        (audited & (room == 0) & ~right).sum() / (audited & ~right).sum(), abs=0.06
    )
    assert all(audited[example.row] for example in findings.examples)
    assert all(example.wrong == (not right[example.row]) for example in findings.examples)
    top = [findings.example(row) for row in one.portrait.top]
    assert all(example.wrong for example in top)


def test_examples_with_tiny_weights_are_not_shown_for_a_group():
    p, _ = failing(n=200)
    weights = np.zeros((1, 200))
    wrong = np.flatnonzero(p.labels != p.predictions)[:12]
    weights[0, wrong] = [0.956, 0.478, 0.477, *[0.009] * 9]
    findings = Findings.build(p, Slices("spotlight", p.ids, weights, describe(weights, p)))
    for group in (*findings.findings, *findings.slices):
        assert group.portrait.top == tuple(wrong[:2].tolist())
        assert group.portrait.weights == (0.956, 0.478)


def test_previews_are_made_once(found):
    _, _, _, findings = found
    asked: list[int] = []

    def preview(row):
        asked.append(row)
        return f"text {row}"

    media = Media(preview)
    render(findings, media)
    render(findings, media)
    assert len(asked) == len(set(asked)) > 0


def test_slices_of_other_predictions_are_refused():
    p, _ = failing(n=200)
    slices = UDIS().fit(p).slices_
    with pytest.raises(ValueError, match="ids are not those of the 199 predictions"):
        Findings.build(p.take(np.arange(199)), slices)


def test_slices_built_with_another_record_than_their_own_add_a_warning_note():
    """Rows without ids get the same numbers, so noise would be confirmed on the examples that it was found in."""
    p, q = (null_predictions("label", 400, seed) for seed in (0, 1))
    assert np.array_equal(p.ids, q.ids)
    slices = Scan(n_slices=2, draws=0).fit(p).slices_
    right = Findings.build(p, slices, confirm=q, projection="none")
    # a method that is not installed cannot state which examples it judges
    unknown = Findings.build(q, replace(slices, method="not-installed"), projection="none")
    swapped = Findings.build(q, slices, confirm=p, projection="none")
    cautioned = [
        any("other losses or answers" in note for note in one.notes) for one in (right, unknown, swapped)
    ]
    assert cautioned == [False, False, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saved_slices_match_the_predictions_that_they_were_found_in(dtype, tmp_path):
    p = null_predictions("label", 400, 0)
    p = replace(p, losses=p.losses.astype(dtype))
    Scan(n_slices=2, draws=0).fit(p).slices_.save(tmp_path / "slices")
    p.save(tmp_path / "predictions")
    again = Predictions.load(tmp_path / "predictions")
    notes = Findings.build(again, Slices.load(tmp_path / "slices"), projection="none").notes
    assert not any("other losses or answers" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ('{"schema": 99}', "schema 99"),
        ('{"schema": 1}', "cannot be read"),
        ("[]", "cannot be read"),
    ],
)
def test_damaged_or_missing_findings_are_refused(tmp_path: Path, text, said):
    (tmp_path / "findings.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        Findings.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no findings\.json"):
        Findings.load(tmp_path / "nowhere")


def test_saved_slices_can_be_applied_to_their_predictions(found):
    p, _, folder, findings = found
    slices = Slices.load(folder / "slices")
    assert len(slices.ids) == len(p)
    memberships = apply(slices, p)
    assert memberships.shape == (len(p), len(slices))
    assert [s.statistics.size for s in findings.slices] == pytest.approx([s.size for s in slices.statistics])
