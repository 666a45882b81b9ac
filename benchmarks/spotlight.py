"""How fast the Spotlight is: python benchmarks/spotlight.py [--default] [--large] [--better]

The published run (from the origin, Adam) is compared with a textbook version: autograd through a d×d precision matrix.
Both run in one process on one thread, interleaved, and CPU time is measured, so that other programs do not count. Times
are medians over the rounds. Embeddings are like those of a trained network: classes, a falling spectrum, no values
below 0.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from weakspot import Predictions, Spotlight
from weakspot.methods.distributed import SingleProcess
from weakspot.methods.spotlight.fixed_size import scale_of_size
from weakspot.methods.spotlight.kernel import kernel_weights, quadratic_form
from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.lazy import LazyOptimizer
from weakspot.methods.spotlight.optim.optimizer import AdamSchedule, OptimizationRun
from weakspot.methods.spotlight.preprocessing import WorkingEmbeddings, to_working_units

SHAPES = [(10_954, 512), (20_000, 768), (50_000, 512)]
LARGE = (1_000_000, 256)
DEFAULT = [(1000, 64), (5000, 256), (10_954, 512), (50_000, 2048)]
STEPS, SHARE, ROUNDS, TEXTBOOK_STEPS = 5000, 0.02, 5, 3


def embeddings(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 embeddings and losses, made in blocks without a second copy; one class in twelve fails in part."""
    rng = np.random.default_rng(seed)
    rank = min(64, d)
    basis = rng.normal(size=(rank, d)) / np.sqrt(d)
    scale = (1 + np.arange(rank)) ** -0.5
    means = 2 * rng.normal(size=(12, rank))
    x, y = np.empty((n, d), dtype=np.float32), np.empty(n, dtype=np.float32)
    for start in range(0, n, 10_000):
        rows = slice(start, min(start + 10_000, n))
        kind = rng.integers(12, size=rows.stop - rows.start)
        z = (means[kind] + rng.normal(size=(len(kind), rank))) * scale
        x[rows] = np.maximum(6 * z @ basis + 0.15 * rng.normal(size=(len(kind), d)), 0)
        failing = (kind == 3) & (z[:, 1] > means[3, 1] * scale[1])
        y[rows] = rng.exponential(0.25, len(kind)) + 1.2 * failing + 0.3 * np.maximum(z[:, 0], 0)
    return x, y


def textbook(x: np.ndarray, y: np.ndarray, steps: int) -> float:
    """Return the CPU seconds per step of the objective as the paper states it, differentiated by autograd."""
    points, losses = torch.from_numpy(x), torch.from_numpy(y)
    n, d = points.shape
    size = SHARE * n
    mean = torch.zeros(d, requires_grad=True)
    log_precision = torch.tensor(np.log(1e-4), dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.Adam([mean, log_precision], lr=1e-2)
    barriers = np.geomspace(n - size, 0.05 * size, STEPS)
    begin = time.process_time()
    for barrier in barriers[:steps]:
        optimizer.zero_grad()
        precision = torch.eye(d) * log_precision.exp()
        away = points - mean
        w = torch.clamp(1 - ((away @ precision) * away).sum(dim=1), min=0)
        total = w.sum()
        objective = (w / total) @ losses
        if total < size + barrier:
            objective = objective - (total - size - barrier) ** 2 / barrier**2
        (-objective).backward()
        optimizer.step()
    return (time.process_time() - begin) / steps


def lazy(
    optimizer: LazyOptimizer, working: WorkingEmbeddings, y: np.ndarray
) -> tuple[float, OptimizationRun]:
    """Return the CPU seconds per step of the same run here, including its first reading of every row, and the run."""
    n, size = len(y), SHARE * len(y)
    problem = Problem(y.astype(np.float64), np.ones(n), size, barrier_cost=1.0)
    schedule = AdamSchedule(np.geomspace(n - size, 0.05 * size, STEPS), 1e-2, 10, 0.5, 1 / working.unit)
    origin, start = -working.mean[None] / working.unit, np.log([[1e-4 * working.unit**2]])
    begin = time.process_time()
    (run,) = optimizer.adam(problem, schedule, origin, start)
    return (time.process_time() - begin) / STEPS, run


def fitted(x: np.ndarray, y: np.ndarray, **settings: object) -> tuple[float, float, Spotlight]:
    """Return the CPU seconds of a fit, its memory beyond the embeddings as a share of theirs, and the Spotlight."""
    predictions = Predictions.from_arrays(x, y)
    before = _reset_peak()
    begin = time.process_time()
    spotlight = Spotlight(min_size=SHARE, **settings).fit(predictions)
    return time.process_time() - begin, (_memory("VmHWM") - before) / x.nbytes, spotlight


def _reset_peak() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # otherwise memory that earlier work left would be reused, and not count
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    """Return a memory field of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status has no {name}")


def compare(n: int, d: int) -> None:
    x, y = embeddings(n, d)
    working = to_working_units(x, None, 0, SingleProcess())
    optimizer = LazyOptimizer(working.x)
    textbook(x, y, 1)
    theirs, ours = [], []
    for _ in range(ROUNDS):
        theirs.append(textbook(x, y, TEXTBOOK_STEPS))
        seconds, run = lazy(optimizer, working, y)
        ours.append(seconds)
    slow, fast = statistics.median(theirs), statistics.median(ours)
    del working, optimizer
    five, extra, _ = fitted(x, y, search="published", steps=STEPS)
    print(
        f"| {n:,} × {d} | {1e3 * slow:.0f} | {1e3 * fast:.4f} | {slow / fast:,.0f}× | "
        f"{run.rows_read / STEPS / n:.2%} | {five:.2f} | {extra:.2f}× |",
        flush=True,
    )


def default(n: int, d: int) -> None:
    """Time five spotlights by the default search and by the published run, interleaved."""
    x, y = embeddings(n, d)
    seconds: dict[str, list[float]] = {"published": [], "multistart": []}
    for _ in range(ROUNDS if n * d < 10_000_000 else 1):
        for search, times in seconds.items():
            times.append(fitted(x, y, search=search)[0])
    published, ours = (statistics.median(times) for times in seconds.values())
    print(f"| {n:,} × {d} | {published:.2f} | {ours:.2f} | {ours / published:.1f}× |", flush=True)


def large(n: int, d: int) -> None:
    x, y = embeddings(n, d)
    print(f"\n{n:,} × {d} ({x.nbytes / 2**30:.2f} GiB), one thread, one spotlight\n")
    print("| search | CPU s | extra memory | size | loss inside |\n|---|---|---|---|---|")
    for search in ("published", "multistart"):
        seconds, extra, spotlight = fitted(x, y, search=search, n_slices=1)
        statistics = spotlight.slices_.statistics[0]
        line = f"| {search} | {seconds:.0f} | {extra:.2f}× | {statistics.size:.0f} | {statistics.loss_inside:.4f} |"
        print(line, flush=True)


def better() -> None:
    """Compare the loss inside at the same size: at the published run's centre, and by the search here."""
    print(
        "\n| data | runs | published collapsed | least gain | mean gain | largest gain |\n|---|---|---|---|---|---|"
    )
    for name, make in (("network-like", _network_like), ("one hard cluster", _cluster), ("digits", _digits)):
        gains, collapsed = [], 0
        for seed in range(4):
            predictions = Predictions.from_arrays(*make(seed))
            for share in (0.01, 0.02, 0.05):
                with warnings.catch_warnings():
                    warnings.simplefilter("error", UserWarning)
                    try:
                        theirs = Spotlight(1, share, search="published").fit(predictions)
                    except UserWarning:
                        collapsed += 1
                        continue
                ours = Spotlight(1, share).fit(predictions).slices_.statistics[0].loss_inside
                gains.append(ours / _loss_at(predictions, theirs.centers_[0], share * len(predictions)) - 1)
        cells = f"{min(gains):+.4%} | {np.mean(gains):+.1%} | {max(gains):+.1%}"
        print(f"| {name} | {len(gains) + collapsed} | {collapsed} | {cells} |", flush=True)


def _network_like(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return embeddings(3000, 128, seed)


def _cluster(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = 2 * rng.normal(size=(2000, 24)), rng.exponential(0.5, 2000)
    x[:60] = rng.normal(size=24) * 2 + rng.normal(size=(60, 24)) * 0.7
    y[:60] += 1
    return x.astype(np.float32), y.astype(np.float32)


def _digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return real handwriting under a linear classifier on random features, weakly trained."""
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    features = np.maximum(images @ rng.normal(size=(64, 48)) / 8, 0)
    train = rng.random(len(images)) < 0.3
    model = LogisticRegression(C=5e-4, max_iter=1000).fit(features[train], labels[train])
    p = model.predict_proba(features[~train])[np.arange((~train).sum()), labels[~train]]
    return features[~train].astype(np.float32), -np.log(np.maximum(p, 1e-9)).astype(np.float32)


def _loss_at(p: Predictions, centre: np.ndarray, size: float) -> float:
    """Return the loss inside the spotlight of a size at a centre."""
    q = quadratic_form(p.embeddings, centre, np.ones(()))
    scale = scale_of_size(
        torch.from_numpy(q)[:, None], torch.ones(len(p), dtype=torch.float64), size, SingleProcess()
    )
    w = kernel_weights(float(scale[0]) * q)
    return float(w @ p.losses / w.sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--default", action="store_true", help="only the default search's cost over the published run"
    )
    parser.add_argument("--large", action="store_true", help="also 1,000,000 × 256, ours alone (minutes)")
    parser.add_argument(
        "--better", action="store_true", help="what the search finds beyond the published run"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    x, y = embeddings(500, 16)
    lazy(
        LazyOptimizer(to_working_units(x, None, 0, SingleProcess()).x),
        to_working_units(x, None, 0, SingleProcess()),
        y,
    )  # compiles, or loads
    if options.default:
        fitted(x, y)
        print("| n × d | published, s | multistart, s | ratio |\n|---|---|---|---|")
        for shape in DEFAULT:
            default(*shape)
        return
    print(
        "| n × d | textbook, ms/step | here, ms/step | ratio | rows read a step | 5 × 5000 steps, s | extra memory |"
    )
    print("|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        compare(*shape)
    if options.large:
        large(*LARGE)
    if options.better:
        better()


if __name__ == "__main__":
    main()
