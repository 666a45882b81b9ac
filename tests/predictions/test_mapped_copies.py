"""Memory-mapped embeddings are searched and described in place; copies of them go to files, too."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from quick_methods import every, made
from weakspot import Findings, Predictions
from weakspot.pipeline.search import search
from weakspot.predictions import mapped_copies
from weakspot.predictions.mapped_copies import is_mapped, take_rows
from weakspot.testing import example_predictions


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """`example_predictions()` with its embeddings in a file, and every copy counted as large."""
    monkeypatch.setattr(mapped_copies, "LARGE", 0)
    p = example_predictions()
    np.save(tmp_path / "embeddings.npy", p.embeddings)
    return replace(p, embeddings=np.asarray(np.load(tmp_path / "embeddings.npy", mmap_mode="r")))


def test_rows_of_a_mapped_array_are_mapped_and_those_of_another_are_not(mapped):
    x, some = mapped.embeddings, np.random.default_rng(0).permutation(160)[:50]
    assert is_mapped(x)
    assert is_mapped(x[3:9])
    assert not is_mapped(x.astype(np.float64))  # of the mapped class, but in memory
    for rows in (some, some[:0], np.arange(160) % 2 == 0):
        for copy, there in ((take_rows(x, rows), len(x[rows]) > 0), (take_rows(np.array(x), rows), False)):
            assert_array_equal(copy, x[rows])
            assert is_mapped(copy) == there


def test_small_copies_are_kept_in_memory(mapped, monkeypatch):
    monkeypatch.setattr(mapped_copies, "LARGE", mapped.embeddings.nbytes)
    assert not is_mapped(mapped.take(np.arange(160)).embeddings)


def test_a_full_disk_is_reported_in_one_sentence(mapped, monkeypatch):
    monkeypatch.setattr(mapped_copies, "TemporaryFile", partial(open, "/dev/full", "w+b"))
    with pytest.raises(
        OSError, match=r"has no room for a copy of 0\.0 GiB \(No space left on device\); set TMPDIR"
    ):
        take_rows(mapped.embeddings, np.arange(9))


@every
def test_every_method_finds_and_describes_the_same_if_copies_are_files(word, mapped):
    def found(p: Predictions) -> tuple[np.ndarray, Findings]:
        searched = search(made(word), p, confirm=0.5)
        build = Findings.build(p, searched.slices, confirm=searched.confirm)
        return np.asarray(searched.slices.weights), replace(build, created="now")

    (weights, findings), (expected, same) = found(mapped), found(example_predictions())
    assert_array_equal(weights, expected)
    assert findings.equals(same)
