"""Rows spread over two real processes (gloo): the same spotlights as in one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from processes import quiet_environment
from weakspot import Predictions, Spotlight

SETTINGS = {"n_slices": 2, "min_size": 0.05, "steps": 300}

WORKER = """
import sys
import numpy as np
import torch.distributed as dist
from weakspot import Predictions, Spotlight

folder, rank, settings = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
with np.load(f"{folder}/data.npz") as data:
    rows = slice(0, 350) if rank == 0 else slice(350, None)
    p = Predictions.from_arrays(data["x"][rows], data["y"][rows], counts=data["c"][rows])
spotlight = Spotlight(sharded=True, **settings).fit(p)
history = spotlight.history_[0]["objective"]
np.savez(f"{folder}/{rank}.npz", m=spotlight.centers_, p=spotlight.precisions_, w=spotlight.slices_.weights, h=history)
dist.destroy_process_group()
"""


def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 6)).astype(np.float32) * 2
    y = rng.exponential(0.3, 500).astype(np.float32)
    for rows, loss in (((20, 40), 2.0), ((340, 380), 3.0)):  # one cluster on one rank, one on both
        x[slice(*rows)] = rng.normal(size=6) * 4 + rng.normal(size=(rows[1] - rows[0], 6)) * 0.5
        y[slice(*rows)] += loss
    return {"x": x, "y": y, "c": rng.integers(1, 3, 500).astype(np.float64)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, {"search": "published"}, pytest.param({"precision": "diagonal"}, marks=pytest.mark.optional)],
    ids=str,
)
def test_two_processes_find_the_same_as_one(tmp_path: Path, settings: dict[str, str]) -> None:
    arrays = data()
    np.savez(tmp_path / "data.npz", **arrays)
    settings = SETTINGS | settings
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", WORKER, str(tmp_path)]
    ranks = [subprocess.Popen([*command, str(rank), repr(settings)]) for rank in range(2)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    first, second = (dict(np.load(tmp_path / f"{rank}.npz")) for rank in range(2))
    np.testing.assert_array_equal(first["m"], second["m"])
    np.testing.assert_array_equal(first["p"], second["p"])
    w = np.concatenate([first["w"], second["w"]], axis=1)

    p = Predictions.from_arrays(arrays["x"], arrays["y"], counts=arrays["c"])
    whole = Spotlight(**settings).fit(p)
    if settings.get("search") == "published":
        np.testing.assert_allclose(first["h"][:200], whole.history_[0]["objective"][:200], rtol=1e-5)
    else:
        assert ((arrays["c"] * w).sum(axis=1) >= 0.05 * arrays["c"].sum() * (1 - 1e-12)).all()
        inside = [
            (arrays["c"] * v[0]) @ arrays["y"] / (arrays["c"] @ v[0]) for v in (w, whole.slices_.weights)
        ]
        assert inside[0] == pytest.approx(inside[1], rel=1e-2 if "precision" in settings else 1e-5)


SMALL = """
import sys
import numpy as np
import torch.distributed as dist
from test_spotlight_sharded import SIZES, small
from weakspot import Predictions, Spotlight

folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
for search in ("published", "multistart"):
    for n in SIZES:
        x, y, settings = small(n, folder)
        rows = slice(0, (n + 1) // 2) if rank == 0 else slice((n + 1) // 2, None)
        spotlight = Spotlight(sharded=True, search=search, **settings).fit(Predictions.from_arrays(x[rows], y[rows]))
        np.save(f"{folder}/{search}-{n}-{rank}.npy", spotlight.slices_.weights)
dist.destroy_process_group()
"""
SIZES = (2, 3, 37, 101)


def small(n: int, folder: str | Path) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Memory-mapped embeddings, losses, and settings that fit so few examples."""
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 4)).astype(np.float32), rng.exponential(0.3, n).astype(np.float32)
    y += x[:, 0] > 0.5
    file = Path(folder, f"{n}.npy")
    if not file.exists():
        np.save(file, x)
    return np.load(file, mmap_mode="r"), y, {"n_slices": 1, "min_size": 0.5 if n < 4 else 0.2, "steps": 200}


@pytest.mark.slow
@pytest.mark.optional  # CI covers memory-mapped rows and sharded rows separately
def test_two_processes_find_the_same_in_few_memory_mapped_rows(tmp_path: Path) -> None:
    whole = {
        (search, n): Spotlight(search=search, **settings)
        .fit(Predictions.from_arrays(x, y))
        .slices_.weights[0]
        for search in ("published", "multistart")
        for n in SIZES
        for x, y, settings in [small(n, tmp_path)]
    }
    environment = quiet_environment() | {"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", SMALL, str(tmp_path)]
    ranks = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    for (search, n), alone in whole.items():
        shared = np.concatenate([np.load(tmp_path / f"{search}-{n}-{rank}.npy")[0] for rank in range(2)])
        y = small(n, tmp_path)[1]
        inside = [float(w @ y / w.sum()) for w in (shared, alone)]
        assert inside[0] == pytest.approx(inside[1], rel=1e-4), (search, n)


def test_sharding_needs_a_process_group() -> None:
    p = Predictions.from_arrays(np.eye(4), np.ones(4))
    with pytest.raises(ValueError, match="init_process_group first"):
        Spotlight(sharded=True, min_size=1).fit(p)
