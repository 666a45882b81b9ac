"""Testing slices on other predictions: classes are matched by name, and no searched example is tested on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shell import Shell
from weakspot import Findings, Predictions, Scan
from weakspot.methods import weights_of
from weakspot.predictions import record
from weakspot.predictions.other_examples import align_classes, examples_to_test, shared_examples
from weakspot.predictions.row_hashes import hash_rows

N = 600


def animals(names, seed, failing="cat", **extra):
    """Animals; the model gets most of one kind wrong if the first coordinate is positive."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(names, N)
    embeddings = rng.normal(size=(N, 3)).astype(np.float32)
    wrong = rng.random(N) < np.where((labels == failing) & (embeddings[:, 0] > 0), 0.9, 0.05)
    return Predictions.from_arrays(
        embeddings,
        losses=np.where(wrong, 2.0, 0.1) + rng.random(N) / 100,
        labels=labels,
        predictions=np.where(wrong, np.where(labels == "cat", "dog", "cat"), labels),
        ids=[f"{seed}-{i}" for i in range(N)],
        **extra,
    )


def test_classes_are_matched_by_name():
    p, other = animals(["ant", "cat", "dog"], 0), animals(["bee", "cat", "dog"], 1)
    aligned = align_classes(other, p)
    assert aligned.classes() == ("ant", "cat", "dog", "bee")
    for values, before in ((aligned.labels, other.labels), (aligned.predictions, other.predictions)):
        assert [aligned.name_of(values, row) for row in range(N)] == [
            other.name_of(before, row) for row in range(N)
        ]
    assert align_classes(p, p) is p


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"outputs": np.tile([0, 3], (N, 1))}, "has other classes"),
        ({"labels": None}, "has no labels"),
        ({"labels": np.linspace(0, 1, N), "outputs": np.zeros((N, 1))}, "is a regression task"),
    ],
)
def test_predictions_of_another_task_are_refused(extra, reason):
    p = animals(["ant", "cat", "dog"], 0)
    fields = {"losses": p.losses, "labels": np.where(np.arange(N) % 2, "cat", "dog")} | extra
    if fields["labels"] is None:
        del fields["labels"]
    other = Predictions.from_arrays(p.embeddings + 1, **fields)
    with pytest.raises(
        ValueError, match=rf"^the record to test on \(confirm\) {reason}.*the record that the slices"
    ):
        align_classes(other, p)
    named = [replace(one, manifest={"source": name}) for one, name in ((other, "b.npz"), (p, "a.npz"))]
    with pytest.raises(ValueError, match=rf"test on \(b\.npz\) {reason}.*were found in \(a\.npz\)"):
        align_classes(*named)


def test_shared_examples_are_found_under_any_id():
    p, other = animals(["cat", "dog"], 0), animals(["cat", "dog"], 1)
    assert not shared_examples(other, p).any()
    renamed = Predictions.from_arrays(
        p.embeddings.astype(np.float64), losses=p.losses, labels=p.labels, ids=[f"copy {i}" for i in range(N)]
    )
    assert shared_examples(renamed, p).all()
    assert shared_examples(replace(renamed, embeddings=np.asfortranarray(p.embeddings)), p).all()
    with pytest.raises(ValueError, match="holds the same examples"):
        examples_to_test(renamed, p)
    with pytest.raises(ValueError, match="is empty"):
        examples_to_test(renamed.take(np.arange(0)), p)
    # embeddings of few values do not identify an example: the loss does, or else the id
    flat = {"labels": p.labels, "predictions": p.predictions}
    numbered, others = (Predictions.from_arrays(np.ones((N, 1)), **flat, ids=q.ids) for q in (p, other))
    assert not shared_examples(others, numbered).any()
    assert shared_examples(numbered, numbered).all()


def test_examples_are_hashed_once_however_often_two_records_are_compared(monkeypatch):
    p, other = animals(["ant", "cat", "dog"], 0), animals(["bee", "cat", "dog"], 1)
    hashed = []
    monkeypatch.setattr(
        record, "hash_rows", lambda values, seed: hashed.append(seed) or hash_rows(values, seed)
    )
    slices = Scan(n_slices=1, draws=0).fit(p).slices_
    examples_to_test(other, p)
    Findings.build(p, slices, confirm=other, projection="none")
    assert hashed == [0, 1] * 2  # embeddings and losses of both


def test_searched_examples_are_left_out_of_the_test_and_the_findings_say_so():
    p, other = animals(["cat", "dog"], 0), animals(["cat", "dog"], 1)
    both = Predictions.from_arrays(
        np.concatenate([p.embeddings[:200], other.embeddings]),
        losses=np.concatenate([p.losses[:200], other.losses]),
        labels=np.concatenate([p.labels[:200], other.labels]),
        predictions=np.concatenate([p.predictions[:200], other.predictions]),
        task=p.task,
    )
    found = Scan(n_slices=1, draws=0).fit(p).slices_
    confirmation = Findings.build(p, found, confirm=both, projection="none").confirmation
    assert confirmation.tested == N
    assert "leaving out 200 that had been searched" in confirmation.explanation


@pytest.mark.parametrize("copied", [0, 2, 60])
def test_many_copies_among_the_held_out_examples_are_pointed_out(copied):
    p = animals(["cat", "dog"], 0)
    rows = np.concatenate([np.arange(N // 2), np.arange(copied), np.arange(N // 2, N - copied)])
    q = replace(p.take(rows), ids=np.array([f"new {i}" for i in range(N)]))
    half = np.arange(N) < N // 2
    found = Scan(n_slices=1, draws=0).fit(q.take(half)).slices_
    slices = found.carry_over(weights_of(found, q), q, np.flatnonzero(half), np.ones(N, dtype=bool))
    notes = " ".join(Findings.build(q, slices, confirm=~half, projection="none").notes)
    assert (f"{copied} of the 300 examples held out" in notes) == (copied == 60)


def test_a_file_with_fewer_classes_tests_the_same_class(tmp_path):
    """Cats fail in the searched record, dogs in the file. The file's first class is cat, the record's is ant."""
    for name, p in (
        ("a", animals(["ant", "cat", "dog"], 0)),
        ("b", animals(["cat", "dog"], 1, failing="dog")),
    ):
        names = np.array(p.classes())
        np.savez(
            tmp_path / f"{name}.npz",
            embeddings=p.embeddings,
            losses=p.losses,
            ids=p.ids,
            labels=names[p.labels],
            predictions=names[p.predictions],
        )
    shell = Shell(tmp_path)
    words = ("predictions=a.npz", "logger=none", "report.map=none", "method.n_slices=1")
    shell("discover", *words, "confirm=b.npz", "hydra.run.dir=run")
    (cats,) = Findings.load(tmp_path / "run").slices
    assert cats.evidence.p > 0.05
    assert cats.evidence.verdict != "confirmed"
    (tmp_path / "copy.npz").write_bytes((tmp_path / "a.npz").read_bytes())
    assert "holds the same examples" in shell("discover", *words, "confirm=copy.npz", fails=2)
    assert len(shell.reports()) == 1
    lacking = {
        "narrow": (
            {"embeddings": np.ones((20, 2)), "losses": np.ones(20)},
            "of 2 dimensions, and predictions=a.npz of 3",
        ),
        "unmeasured": ({"embeddings": np.ones((20, 3))}, "unmeasured.npz: "),
    }
    for name, (arrays, said) in lacking.items():
        np.savez(tmp_path / f"{name}.npz", labels=np.array(["cat", "dog"] * 10), **arrays)
        assert said in shell("discover", *words, f"confirm={name}.npz", fails=2)
    assert len(shell.reports()) == 1
