"""The largest accepted embeddings work in every method and the report; larger ones are refused with a message."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictions_of_every_task import classes
from quick_methods import every, made
from shell import Shell
from weakspot import Findings
from weakspot.report import render


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_method_works_with_the_largest_accepted_embeddings(word: str, dtype: type) -> None:
    p = classes(np.random.default_rng(1))[0]
    x = np.asarray(p.embeddings, dtype=np.float64)
    large = (x / np.abs(x).max() * 9.9e13).astype(dtype)
    of_attributes = {"attributes": p.attributes.column_names} if word == "rules" else {}
    method = made(word, **of_attributes)
    p = replace(p, embeddings=large)
    method.fit(p)
    render(Findings.build(p, method.slices_))


def test_larger_embeddings_are_a_usage_error(tmp_path) -> None:
    shell = Shell(tmp_path)
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 4))
    x[11, 2] = 1e200
    ids = np.array([f"e{i}" for i in range(60)])
    np.savez(tmp_path / "my.npz", embeddings=x, losses=draw.random(60), ids=ids)
    said = shell("discover", "predictions=my.npz", "logger=none", fails=2)
    assert "my.npz: embeddings: row 11 (id e11) holds 1e+200" in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["my.npz"]
