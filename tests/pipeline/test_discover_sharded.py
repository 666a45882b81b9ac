"""`method.sharded=true`: each process of torchrun searches a share of the rows, with the results of one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from paths import ROOT
from processes import quiet_environment
from shell import Shell
from weakspot import Scan
from weakspot.evaluation.synthetic import planted_predictions
from weakspot.pipeline import sharded_search as shares
from weakspot.pipeline.sharded_search import check_sharded_search, shard_bounds

LINE = "torchrun --nproc-per-node=2 discover.py"
OF_A_RUN = ("seal", "checksums", "command", "created", "manifest", "settings")

# only Spotlight's first steps: rounding sometimes leads a search that ends by itself to a neighbouring optimum
PUBLISHED = ("method=spotlight", "method.search=published", "method.steps=150", "method.n_slices=1")


def torchrun(shell: Shell, *words: str) -> str:
    """Run discover.py in two processes and return its standard output."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    line = [*launch, str(ROOT / "discover.py"), *words, "method.sharded=true", "trainer=cpu"]
    done = subprocess.run(
        line, cwd=shell.folder, env=quiet_environment(), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def told(folder: Path) -> list[Any]:
    """The values in a run's findings, except those that identify the run."""

    def flat(value: Any, name: str = "") -> list[Any]:
        if name in OF_A_RUN:
            return []
        if isinstance(value, dict):
            return [leaf for key in sorted(value) for leaf in [key, *flat(value[key], key)]]
        return [leaf for item in value for leaf in flat(item)] if isinstance(value, list) else [value]

    (file,) = folder.glob("**/findings.json")
    return flat(json.loads(file.read_text()))


def assert_same(one: list[Any], two: list[Any], within: float) -> None:
    numbers = [type(value) is float for value in one]
    assert numbers == [type(value) is float for value in two]
    for is_number in (True, False):
        a, b = ([v for v, n in zip(told, numbers, strict=True) if n is is_number] for told in (one, two))
        if is_number:
            np.testing.assert_allclose(a, b, rtol=within, atol=within**2)
        else:
            assert a == b


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "within"),
    [
        (("method.draws=49",), 1e-9),
        pytest.param(("method.draws=49", "confirm=0"), 1e-9, marks=pytest.mark.optional),
        (PUBLISHED, 1e-4),
    ],
    ids=["scan", "scan of all", "spotlight"],
)
def test_two_processes_find_the_same_as_one_in_given_predictions(
    shell: Shell, words: tuple[str, ...], within: float
) -> None:
    planted_predictions(4.0, 1500, 0)[0].save(shell.folder / "store")
    given = ("predictions=store", "logger=none", *words)
    shell("discover", *given, "hydra.run.dir=one")
    said = torchrun(shell, *given, "hydra.run.dir=two")
    assert said.count("predictions: given") == said.count("report → ") == 1
    assert_same(told(shell.folder / "one"), told(shell.folder / "two"), within)


@pytest.mark.slow
def test_two_processes_find_the_same_as_one_in_a_model(digits: Shell, tmp_path: Path) -> None:
    words = ("training.epochs=1", "logger=none", "cam=none")
    digits("discover", *words, "trainer=cpu", f"hydra.run.dir={tmp_path}/one")
    said = torchrun(digits, *words, f"hydra.run.dir={tmp_path}/two")
    assert said.count("train: cached · infer: cached") == said.count("report → ") == 1
    assert_same(told(tmp_path / "one"), told(tmp_path / "two"), 1e-9)


@pytest.mark.slow
@pytest.mark.optional  # joining runs in test_infer_parts.py, a shared search above
def test_the_parts_of_a_record_are_joined_before_the_processes_search(digits: Shell) -> None:
    words = ("training.epochs=1", "logger=none", "predictions_dir=halves")
    digits("infer", *words, "shard=1/2", "trainer=cpu")
    said = torchrun(digits, *words, "cam=none")
    assert said.count("report → ") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("method.n_slices=1",), f"start several: {LINE} method.n_slices=1 method.sharded=true"),
        (("method=udis",), "choose one that has method.sharded: method=scan, spotlight"),
        (("reweight=adversary",), "reweight=adversary searches in one process"),
    ],
    ids=["one process", "a method that cannot", "an adversary"],
)
def test_a_search_that_cannot_be_shared_is_refused(
    shell: Shell, words: tuple[str, ...], sentence: str
) -> None:
    script = "train" if words == ("reweight=adversary",) else "discover"
    assert sentence in shell(script, *words, "method.sharded=true", "logger=none", fails=2)


def test_a_shared_search_is_not_repeated_for_the_stability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "in_process_group", lambda: True)
    check_sharded_search(Scan(sharded=True), 0, "discover.py")
    with pytest.raises(ValueError, match="stability=3 searches again in one process"):
        check_sharded_search(Scan(sharded=True), 3, "discover.py")


def test_shares_hold_every_row_once_and_equal_numbers_of_searched_rows() -> None:
    random = np.random.default_rng(0)
    for n in range(5, 60):
        held, size = random.random(n) < 0.5, int(random.integers(1, 6))
        worlds = [SimpleNamespace(size=size, rank=rank) for rank in range(size)]
        if (~held).sum() < size:
            with pytest.raises(ValueError, match=f"{size} processes cannot divide"):
                shard_bounds(held, worlds[0])
            continue
        parts = [shard_bounds(held, processes) for processes in worlds]
        assert [row for start, stop in parts for row in range(start, stop)] == list(range(n))
        searched = [(~held[start:stop]).sum() for start, stop in parts]
        assert max(searched) - min(searched) <= 1
