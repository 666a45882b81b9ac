"""Arguments passed by mistake, such as a share, a list of names or another folder: the error says what is wanted."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run

import pytest

from weakspot import Predictions
from weakspot.testing import example_predictions

WRONG = """
from dataclasses import replace

import numpy as np
from weakspot import Predictions, Scan
from weakspot.findings import Findings
from weakspot.testing import example_predictions

p = example_predictions()
slices = Scan(draws=0).fit(p).slices_
for call in (
    lambda: Predictions.from_arrays(np.zeros((2, 1)), labels=[0, 1], task=["cat", "dog"]),
    *(lambda wrong=wrong: Findings.build(p, slices, confirm=wrong) for wrong in (0.5, 0, True, "val", "other.npz")),
    lambda: Findings.build(p, slices, confirm=np.ones(3, dtype=bool)),
    lambda: Findings.build(p, Scan()),
    lambda: Findings.build(np.zeros((3, 3)), slices),
    lambda: Findings.build(None, slices),
    lambda: Findings.build(p, slices, hide="group"),
    lambda: Findings.build(p, slices, hide=["grup"]),
    lambda: Findings.build(p, slices, texts=["one"]),
    lambda: Findings.build(p, slices, stability=[]),
    lambda: Findings.build(p, slices, confirm=Predictions.from_arrays(np.ones((4, 5)), labels=np.arange(4) % 3)),
    lambda: Findings.build(p, slices, confirm=replace(p, embeddings=p.embeddings[:, :3])),
):
    try:
        call()
    except (TypeError, ValueError) as error:
        print(type(error).__name__, error)
"""
"""What types forbid, run where nothing checks them: the tests' own process does, and would say so first."""


def test_errors_about_arguments_of_another_type_say_what_is_wanted():
    done = run([sys.executable, "-c", WRONG], capture_output=True, text=True, check=True)
    task, *shares, mask, method, array, nothing, hide, misspelt, texts, stability, unmeasured, narrow = (
        done.stdout.splitlines()
    )
    assert task.startswith("TypeError task=['cat', 'dog'] is not a task; give, for example, Classification")
    wrong = ["0.5", "0", "True", "'val'", "'other.npz'", "of shape (3,)"]
    for given, said in zip(wrong, (*shares, mask), strict=True):
        assert said.startswith(
            f"ValueError confirm is other predictions, or a mask of the 160 examples, not {given}; leave it out to "
            "test nothing"
        )
    assert "slices are of type Scan; give those of a fitted method" in method
    for said, kind in ((array, "ndarray"), (nothing, "NoneType")):
        assert said.startswith(
            f"TypeError predictions are of type {kind}; make some with Predictions.from_arrays"
        )
    assert "give a list of attribute names: hide=['group']" in hide
    assert misspelt == "ValueError hide=['grup']: there is no attribute 'grup'. Did you mean group?"
    assert "texts has 1 values, but there are 160 examples" in texts
    assert "stability has 0 values, but there are " in stability
    assert (
        "cannot be tested on the record of confirm: findings need losses, or which examples are right"
        in unmeasured
    )
    assert "cannot be tested on the record of confirm: embeddings are 3 wide, but the hotspots" in narrow


def test_folders_of_something_else_are_named(tmp_path: Path):
    example_predictions().save(tmp_path / "store" / "digits-test")
    with pytest.raises(FileNotFoundError, match="name one of the records in it: digits-test"):
        Predictions.load(tmp_path / "store")
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "model.ckpt").touch()
    with pytest.raises(FileNotFoundError, match=r"is a checkpoint; infer\.py writes its predictions"):
        Predictions.load(tmp_path)
    with pytest.raises(ValueError, match=r"ending in \.npz.*; this one does not exist"):
        Predictions.load(tmp_path / "nope")
