"""Rows spread over two real processes (gloo): the same balls, p-values and directions as in one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from processes import ended_with, quiet_environment
from weakspot import Predictions, Scan
from weakspot.methods import principal_components
from weakspot.methods.scan import estimator
from weakspot.tasks import Regression

N = (8, 37, 101, 3000)
SAMPLED = (300, 500)  # numbers of centres, and of rows for the components, in the sampled case
KINDS = ("labels", "counts", "ties", "apart", "no labels", "numbers", "sampled")

WORKER = """
import sys
import torch.distributed as dist
from test_scan_sharded import cases, fitted, kept

folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
for name, arrays, cut in cases(folder):
    half = slice(0, cut) if rank == 0 else slice(cut, None)
    arrays = {key: values[half] for key, values in arrays.items()}
    kept(f"{folder}/{name}-{rank}.npz", fitted(name, arrays, sharded=True))
dist.destroy_process_group()
"""


UNLIKE = """
import sys
import numpy as np
import torch.distributed as dist
from weakspot import Predictions, Scan, Spotlight

folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
x, losses = np.random.default_rng(rank).normal(size=(40, 3)), np.arange(40.0)
labels = None if rank else np.arange(40) % 2
for one, other in ((x, labels), (x[:, rank:], None)):
    for method in (Scan(sharded=True), Spotlight(sharded=True, min_size=0.2)):
        try:
            method.fit(Predictions.from_arrays(one, losses=losses, labels=other))
        except ValueError as error:
            print(error)
dist.destroy_process_group()
"""


def cases(folder: str | Path) -> Iterator[tuple[str, dict[str, np.ndarray], int]]:
    """Names, arrays of all rows, and how many the first process holds; the embeddings are memory-mapped."""
    for n in N:
        for kind in KINDS if n > 8 else KINDS[:1]:
            rng = np.random.default_rng(n)
            x, losses = rng.normal(size=(n, 40)).astype(np.float32), rng.exponential(0.3, n)
            place = x[:, 0] > 1.3
            losses[place] += 1.5
            arrays = {"losses": losses, "labels": rng.integers(0, 2, n)}
            if kind == "counts":
                arrays["counts"] = rng.random(n) + 0.5
            if kind == "ties":  # many equal distances, and equal rows in both processes
                x, arrays["losses"] = np.round(x[:, :2]), np.round(losses)
                arrays["counts"] = rng.integers(1, 4, n)
            if kind == "apart":  # a label that one process does not hold
                arrays["labels"] = (np.arange(n) >= n // 4).astype(np.int64)
            if kind == "no labels":
                del arrays["labels"]
            if kind == "numbers":
                arrays = {"labels": losses, "predictions": np.full(n, 0.5)}
            file = Path(folder, f"{n}.{kind}.npy")
            if not file.exists():
                np.save(file, x)
            yield f"{n}.{kind}", {"embeddings": np.load(file, mmap_mode="r"), **arrays}, max(4, n // 4)


def fitted(name: str, arrays: dict[str, np.ndarray], sharded: bool) -> Scan:
    numbers, draws = name.endswith("numbers"), 99 if name.startswith("3000") else 49
    p = Predictions.from_arrays(**arrays, task=Regression() if numbers else None)
    assert np.shares_memory(p.embeddings, arrays["embeddings"])  # nothing is read into memory
    with pytest.MonkeyPatch.context() as patch:
        if name.endswith("sampled"):
            patch.setattr(estimator, "_CENTRES", SAMPLED[0])
            patch.setattr(principal_components, "_MOST_ROWS", SAMPLED[1])
        return Scan(n_slices=3, draws=draws, sharded=sharded).fit(p)


def kept(file: str, scan: Scan) -> None:
    np.savez(file, weights=scan.slices_.weights, **scan.slices_.parameters)


@pytest.mark.slow
def test_two_processes_find_the_same_as_one(tmp_path: Path) -> None:
    alone = {name: fitted(name, arrays, sharded=False) for name, arrays, _ in cases(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", WORKER, str(tmp_path)]
    environment = quiet_environment() | {"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
    ranks = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    for name, whole in alone.items():
        first, second = (dict(np.load(tmp_path / f"{name}-{rank}.npz")) for rank in range(2))
        weights = np.concatenate([first.pop("weights"), second.pop("weights")], axis=1)
        for key, values in whole.slices_.parameters.items():
            assert_array_equal(first[key], second[key], err_msg=f"{name} {key}")
            assert_allclose(first[key], values, rtol=1e-9, atol=1e-9, err_msg=f"{name} {key}")
        assert_array_equal(first["p_values"], whole.p_values_, err_msg=name)
        assert_allclose(weights, whole.slices_.weights, atol=1e-9, err_msg=name)
        # Without labels, two grown balls take half of the examples each, or leave none that are worse.
        slices = 2 if name in ("101.no labels", "101.numbers") else 3
        assert len(weights) == slices or name.startswith(("8", "37")), name


@pytest.mark.slow
def test_records_of_different_kinds_are_refused_by_every_process(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", UNLIKE, str(tmp_path)]
    ranks = [
        subprocess.Popen([*command, str(rank)], env=quiet_environment(), stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    with ended_with(ranks):
        for rank in ranks:
            assert rank.communicate(timeout=100)[0].count("give all processes rows of one record") == 4
            assert rank.returncode == 0


def test_sharding_needs_a_process_group() -> None:
    p = Predictions.from_arrays(np.eye(9), np.ones(9))
    with pytest.raises(ValueError, match="init_process_group first"):
        Scan(sharded=True).fit(p)
