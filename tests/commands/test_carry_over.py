"""Slices of earlier runs on other examples, comparisons of two runs, and gates that fail a run for its findings."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from quick_methods import METHODS, made
from report_pages import read as words_of
from weakspot import Findings, Predictions, Slices
from weakspot.findings.comparison import Comparison
from weakspot.findings.numbers import percent
from weakspot.methods import apply
from weakspot.methods.confusion import Confusion
from weakspot.methods.registry import find
from weakspot.pipeline.carry_over import carry_over, check_fits, check_same_embedding
from weakspot.pipeline.discover import discover, report_slices
from weakspot.pipeline.saved_runs import SavedRun
from weakspot.tasks import Classification
from weakspot.testing import example_predictions

TESTABLE = [word for word in METHODS if find(word).testable]
FIND_BY_PLACE = [word for word in TESTABLE if word != "random"]
N = 600


def arrays(failing: dict[int, float], seed: int, prefix: str) -> dict[str, np.ndarray]:
    """Six separate groups, always the same; the model is right on 95 % of each, except for the failing ones."""
    groups, labels = np.arange(N) % 6, np.arange(N) // 6 % 2
    rng = np.random.default_rng(seed)
    right = rng.random(N) < np.array([failing.get(group, 0.95) for group in groups])
    return {
        "id": np.array([f"{prefix}-{i}" for i in range(N)]),
        "embeddings": (6 * np.eye(6)[groups] + rng.normal(size=(N, 6))).astype(np.float32),
        "labels": labels,
        "predictions": np.where(right, labels, 1 - labels),
        "losses": np.where(right, 0.1, 3.0) + 0.01 * rng.random(N),
        "group": groups.astype(str),
    }


KMEANS = ("method=kmeans", "method.n_clusters=6", "method.n_slices=3", "logger=none")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that found group 0, predictions of other examples and later ones of the same, and slices of Confusion."""
    from shell import Shell

    shell = Shell(tmp_path_factory.mktemp("runs"))
    np.savez(shell.folder / "old.npz", **arrays({0: 0.2}, 0, "a"))
    np.savez(shell.folder / "elsewhere.npz", **arrays({0: 0.2}, 1, "b"))
    np.savez(shell.folder / "later.npz", **arrays({2: 0.2}, 2, "a"))
    shell("discover", "predictions=old.npz", *KMEANS, "hydra.run.dir=old")
    Confusion().fit(Predictions.load(shell.folder / "old.npz")).slices_.save(
        shell.folder / "cells" / "slices"
    )
    return shell


def test_slices_of_a_run_are_tested_on_all_other_examples(runs):
    text = runs(
        "discover",
        "slices=old",
        "predictions=elsewhere.npz",
        "fail_if.accuracy_below=0.7",
        "logger=none",
        "hydra.run.dir=elsewhere",
        fails=3,
    )
    findings = Findings.load(runs.folder / "elsewhere")
    searched = int(Slices.load(runs.folder / "old" / "slices").searched_mask.sum())
    assert 0 < searched < N
    assert (findings.confirmation.mode, findings.confirmation.tested) == ("other", N)
    assert findings.confirmation.searched == searched
    assert [(one.name, one.verdict) for one in findings.findings if one.confirmed] == [
        ("group = 0", "confirmed")
    ]
    assert findings.findings[0].accuracy.inside == pytest.approx(0.2, abs=0.12)
    assert findings.provenance["found_in"]["run"] == "old"
    words = words_of((runs.folder / "elsewhere" / "report.html").read_text(encoding="utf-8"))
    assert f"for in {searched} examples and tested on {N} others (the predictions elsewhere.npz)" in words
    (rate,) = re.findall(r"fail_if:\n  group = 0: the model is right on (.+?) of it .*, below 70", text)
    assert rate == percent(findings.findings[0].accuracy.inside)  # as in the report
    assert re.search(rf"│ group = 0 +│.*│ +{rate} \(.*│ confirmed", text)


def colour(row: int) -> tuple[int, int, int]:
    """A colour that is unique among the N rows."""
    return row % 256, row // 256, 0


def shown_table(columns: dict[str, np.ndarray]) -> pa.Table:
    """A table of predictions in which each example has a text with its id and an image of its colour."""
    images = []
    for row in range(N):
        Image.new("RGB", (2, 2), colour(row)).save(file := io.BytesIO(), "PNG")
        images.append(file.getvalue())
    columns = columns | {"embeddings": list(columns["embeddings"])}
    return pa.table(columns | {"text": [f"what {id} says" for id in columns["id"]], "image": images})


def test_examples_that_are_not_left_out_keep_their_own_texts_and_images(runs):
    pq.write_table(shown_table(arrays({0: 0.2}, 0, "a")), runs.folder / "shown.parquet")
    line = ("discover", "slices=old", "predictions=shown.parquet", "export=parquet", "logger=none")
    text = runs(*line, "hydra.run.dir=shown")
    slices = Slices.load(runs.folder / "old" / "slices")
    searched = int(slices.searched_mask.sum())
    assert f"leaving out {searched} that had been searched" in " ".join(text.split())
    examples = pq.read_table(runs.folder / "shown" / "examples.parquet").to_pylist()
    assert [one["id"] for one in examples] == slices.ids[~slices.searched_mask].tolist()
    for one in examples:
        assert one["text"] == f"what {one['id']} says"
        image = Image.open(io.BytesIO(one["image"]["bytes"])).convert("RGB")
        assert image.getpixel((0, 0)) == colour(int(one["id"].removeprefix("a-")))
    both = runs("discover", "compare=[old,shown]", "logger=none", "hydra.run.dir=old_and_shown")
    assert f"measured on the same {N - searched} examples in both runs" in " ".join(both.split())
    pq.write_table(shown_table(arrays({0: 0.2}, 0, "b")), runs.folder / "shown.parquet")
    both = runs("discover", "compare=[old,shown]", "logger=none", "hydra.run.dir=replaced", fails=2)
    assert "shown.parquet does not hold the examples that shown was made from" in both


def test_searched_examples_are_left_out_under_other_ids_if_their_predictions_can_be_read(runs):
    np.savez(runs.folder / "renamed.npz", **arrays({0: 0.2}, 0, "c"))
    line = ("discover", "slices=old", "predictions=renamed.npz", "report.map=none", "logger=none")
    searched = int(Slices.load(runs.folder / "old" / "slices").searched_mask.sum())
    text = runs(*line, "hydra.run.dir=renamed")
    assert f"tested on {N - searched} others" in " ".join(text.split())
    assert f"leaving out {searched} that had been searched" in " ".join(text.split())
    found = Findings.load(runs.folder / "renamed")
    assert not any("cannot be read" in note for note in found.notes)
    own = runs("discover", "slices=old", "predictions=old.npz", "logger=none", "hydra.run.dir=own")
    assert f"tested on {N - searched} others" in " ".join(own.split())
    (runs.folder / "old.npz").rename(runs.folder / "moved.npz")
    text = runs(*line, "hydra.run.dir=unknown")
    (runs.folder / "moved.npz").rename(runs.folder / "old.npz")
    assert f"tested on {N} others" in " ".join(text.split())
    (note,) = (note for note in Findings.load(runs.folder / "unknown").notes if "cannot be read" in note)
    assert "Copies of them under other ids" in note
    refused = runs("discover", "slices=own", "predictions=elsewhere.npz", "logger=none", fails=2)
    assert "own only tested the slices of old" in refused
    assert "give slices=old" in refused


def test_a_slice_that_is_new_against_a_baseline_fails_the_run_but_keeps_its_files(runs):
    line = ("discover", "predictions=later.npz", *KMEANS, "fail_if.new_against=old")
    text = runs(*line, "hydra.run.dir=later", fails=3)
    later = runs.folder / "later"
    assert {"report.html", "findings.json", "compare.html", "compare.json", "slices"} <= {
        path.name for path in later.iterdir()
    }
    found = Comparison.load(later)
    assert {(one.status, re.search(r"group = \d", one.name)[0]) for one in found.slices} >= {
        ("fixed", "group = 0"),
        ("new", "group = 2"),
    }
    assert found.paired
    assert "is new: Before, the model was right on" in text
    assert "group = 2" in text.partition("fail_if:")[2]
    assert "group = 0" not in text.partition("fail_if:")[2]

    both = ("discover", "compare=[old,later]", "logger=csv", "hydra.run.dir=both")
    text = runs(*both)
    again = Comparison.load(runs.folder / "both")
    assert [one.status for one in again.slices] == [one.status for one in found.slices]
    assert again.title in text
    numbers = (runs.folder / "both" / "csv" / "metrics.csv").read_text()
    assert "compare/fixed" in numbers
    assert (again.before.run, again.after.run) == ("old", "later")
    assert again.before.differs_by == ("predictions=old.npz",)  # not the folder, nor what both have
    assert again.after.differs_by == ("predictions=later.npz", "fail_if.new_against=old")
    words = words_of((runs.folder / "both" / "compare.html").read_text(encoding="utf-8"))
    assert re.search(r"Before kmeans · \d kmeans slices? old predictions=old.npz", words)
    assert re.search(r"After kmeans · \d kmeans slices? later predictions=later.npz", words)


def test_a_gate_that_passes_prints_what_it_checked(runs):
    line = ("discover", "predictions=old.npz", *KMEANS)
    text = runs(*line, "fail_if.accuracy_below=0.05", "fail_if.new_against=old", "hydra.run.dir=again")
    assert (
        "\nfail_if passes: nothing confirmed is less accurate than 5\u202f%, and no slice is new against old\n"
        in text
    )
    assert "fail_if passes" not in runs(*line, "hydra.run.dir=plain")
    both = runs(
        "discover", "compare=[old,again]", "fail_if.new_against=old", "logger=none", "hydra.run.dir=compared"
    )
    assert both.endswith("fail_if passes: no slice is new against old\n")


def test_a_gate_fails_the_runs_of_a_sweep(runs):
    text = runs(
        "discover", "-m", "predictions=old.npz", *KMEANS, "seed=1,2", "fail_if.accuracy_below=0.7", fails=3
    )
    for seed in (1, 2):
        run = rf"\nrun {seed - 1} \(seed={seed}\) stopped by fail_if:\n"
        assert len(re.findall(rf"{run}  group = 0: the model is right on", text)) == 1, text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("slices=old", "add predictions=FILE, or a dataset and a model"),
        ("slices=cells", "slices of method=confusion hold examples because of their errors"),
        ("slices=old predictions=elsewhere.npz confirm=0.3", "leave it out, and give those examples"),
        ("compare=[old,old]", "both are the same run; name two, the earlier one first"),
        (
            "predictions=old.npz confirm=0 fail_if.accuracy_below=0.7",
            "nothing is tested here, because of confirm=0; use confirm=0.5",
        ),
        (
            "predictions=old.npz method=top_loss fail_if.accuracy_below=0.7",
            "because slices of method=top_loss hold examples because of their errors",
        ),
    ],
)
@pytest.mark.slow
def test_impossible_commands_are_refused_in_one_sentence_and_leave_no_run(runs, words, said):
    before = set(runs.folder.iterdir())
    assert said in runs("discover", *words.split(), "logger=none", fails=2)
    assert set(runs.folder.iterdir()) - before <= {runs.folder / "outputs"}
    assert not list(runs.folder.glob("outputs/discover/*/*"))


def test_a_run_measured_by_its_loss_is_not_compared_with_one_measured_by_its_accuracy(runs):
    columns = arrays({2: 0.2}, 2, "a")
    del columns["predictions"]
    np.savez(runs.folder / "losses.npz", **columns)
    runs("discover", "predictions=losses.npz", *KMEANS, "hydra.run.dir=by_loss")
    for earlier, later, said in (
        (
            "by_loss",
            "old",
            "by_loss is measured by its loss, old by its accuracy; compare runs of one measure",
        ),
        (
            "old",
            "by_loss",
            "old is measured by its accuracy, by_loss by its loss; compare runs of one measure",
        ),
    ):
        line = ("discover", f"compare=[{earlier},{later}]", "logger=none", "hydra.run.dir=mixed")
        assert said in runs(*line, fails=2)
    line = ("discover", "predictions=losses.npz", *KMEANS, "fail_if.new_against=old", "hydra.run.dir=mixed")
    assert "old is measured by its accuracy, this run by its loss" in runs(*line, fails=2)
    assert not (runs.folder / "mixed").exists()


@pytest.mark.slow
def test_slices_are_carried_over_to_another_split_of_the_dataset(digits):
    line = ("discover", "training.epochs=1", "logger=none")
    digits(*line, "method=kmeans", "hydra.run.dir=found")
    digits(*line, "slices=found", "split=val", "hydra.run.dir=carried")
    findings = Findings.load(digits.folder / "carried")
    assert (findings.split, findings.confirmation.mode) == ("val", "other")
    assert findings.confirmation.tested == findings.whole.n
    assert "split val of colored_digits" in findings.confirmation.tested_on
    assert findings.confirmation.untested_because == ""
    made = set(digits.folder.glob("outputs/checkpoints/*"))
    said = digits(*line, "slices=found", "split=val", "model.embedding=32", fails=2)
    assert "were found in 64 dimensions" in said
    assert set(digits.folder.glob("outputs/checkpoints/*")) == made


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Path]:
    """A run of every method on the same examples."""
    folders = {}
    for word in METHODS:
        folders[word] = tmp_path_factory.mktemp(word)
        discover(made(word), example_predictions(400), folders[word])
    return folders


def others(**change) -> Predictions:
    p = example_predictions(300, seed=5)
    return replace(p, ids=np.array([f"new-{i}" for i in range(len(p))]), **change)


@pytest.mark.parametrize("word", sorted(set(METHODS) - set(TESTABLE)))
def test_slices_that_hold_examples_because_of_their_errors_are_not_carried_over(word, found):
    with pytest.raises(ValueError, match=rf"slices of method={word} hold examples because of their errors"):
        carry_over(SavedRun.open(found[word]), others())


@pytest.mark.parametrize("word", TESTABLE)
def test_slices_of_every_method_are_carried_over(word, found, tmp_path):
    run, p = SavedRun.open(found[word]), others()
    carried = carry_over(run, p)
    np.testing.assert_array_equal(carried.slices.weights, apply(run.slices, p).T)
    assert carried.searched == run.slices.searched_mask.sum() < 400
    assert carried.left_out == 0
    findings = report_slices(
        carried.slices,
        carried.predictions,
        tmp_path,
        confirm=np.ones(len(p), dtype=bool),
        searched=carried.searched,
    )
    assert (findings.confirmation.mode, findings.confirmation.tested) == ("other", 300)
    if word in FIND_BY_PLACE:
        assert any(one.confirmed for one in findings.findings)
    else:
        assert not any(one.confirmed for one in findings.findings)
    assert SavedRun.open(tmp_path).slices.equals(carried.slices)


def test_searched_examples_are_never_tested(found):
    run = SavedRun.open(found["kmeans"])
    carried = carry_over(run, example_predictions(400))
    np.testing.assert_array_equal(carried.rows, np.flatnonzero(~run.slices.searched_mask))
    assert carried.left_out == run.slices.searched_mask.sum()
    assert not carried.slices.searched_mask.any()
    rows = np.flatnonzero(run.slices.searched_mask)
    with pytest.raises(ValueError, match=rf"searched {len(rows)} of these {len(rows)} examples"):
        carry_over(run, example_predictions(400).take(rows))


def test_an_embedding_other_than_the_searched_one_is_refused(found):
    run = SavedRun.open(found["kmeans"])
    p = example_predictions(400)
    own = {"checkpoint": "model.ckpt"}
    searched = replace(run, slices=replace(run.slices, provenance={"predictions": own}))
    check_same_embedding(searched, own)
    check_same_embedding(searched, {"embedding": "layer features"})  # the model is unknown
    check_same_embedding(run, own | {"embedding": "layer features"})  # the searched embedding is unknown
    with pytest.raises(
        ValueError,
        match=r"searched the embedding of the model's last layer, .* of the layer features: repeat",
    ):
        check_same_embedding(searched, own | {"embedding": "layer features"})
    unlabelled = replace(p, labels=None, outputs=None, predictions=None, task=None)
    within = replace(
        run, slices=replace(run.slices, parameters={**run.slices.parameters, "labels": np.zeros(1)})
    )
    with pytest.raises(ValueError, match="compared examples of the same label, and these have no labels"):
        check_fits(within, unlabelled)


def test_slices_that_do_not_fit_are_refused_with_a_reason(found):
    run = SavedRun.open(found["kmeans"])
    with pytest.raises(ValueError, match=r"were found in 5 dimensions"):
        carry_over(run, others(embeddings=np.zeros((300, 3))))
    p = example_predictions(400)
    asked = replace(p, manifest={"task": p.task.to_dict()})
    told = replace(run, slices=replace(run.slices, provenance={"predictions": asked.manifest}))
    with pytest.raises(ValueError, match=r"found in another task \(classification: cat, dog, owl\)"):
        carry_over(told, others(task=Classification(("ant", "bee", "fly"))))
    none = replace(run.slices, weights=np.empty((0, 400)), statistics=())
    with pytest.raises(ValueError, match="found no slice, so there is nothing to carry over"):
        carry_over(replace(run, slices=none), others())


def test_predictions_of_a_run_are_found_from_another_folder_and_after_a_move(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    p = example_predictions(200)
    p.save("store/record")
    discover(made("kmeans"), Predictions.load("store/record"), tmp_path / "runs" / "one")
    run = SavedRun.open("runs/one")
    assert len(run.predictions(Path("nowhere"))) == 200
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # now found from the run's folder
    assert len(SavedRun.open("../runs/one").predictions(Path("nowhere"))) == 200
    (tmp_path / "store").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match=r"they were store/record\. Put them back .*predictions_dir="):
        SavedRun.open("../runs/one").predictions(Path("nowhere"))
    assert len(SavedRun.open("../runs/one").predictions(Path("../moved"))) == 200


def test_which_examples_were_searched_is_saved_with_the_slices(found, tmp_path):
    slices = SavedRun.open(found["kmeans"]).slices
    slices.save(tmp_path / "slices")
    header = json.loads((tmp_path / "slices" / "slices.json").read_text())
    assert header["format"] == 4
    assert not slices.searched_mask.all()
    assert Slices.load(tmp_path / "slices").equals(slices)
