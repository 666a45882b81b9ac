"""UDIS against scikit-learn's Ward with seven silhouette_score calls, and without a matrix if n² no longer fits.

    python benchmarks/udis.py                        # everything: hours on one thread
    python benchmarks/udis.py 5000x512 10000x2048    # these sizes, interleaved with scikit-learn
    python benchmarks/udis.py --curve 5000x512 100000x512 --threads 2    # time against n, exact without a matrix
    python benchmarks/udis.py --alone 1000000x128    # ours alone, approximate
    python benchmarks/udis.py --agreement 10000x128  # approximate cuts against exact ones

Every run is a process of its own, so that its peak memory is its own. Ours is a whole `UDIS().fit`: Ward, the
silhouette of every cut in the range, the tree with its statistics and the failing clusters. Theirs is the two library
calls alone: the published code adds a copy of all clusters per merge, and runs the model again on every node of the
tree (the passes in the last column, which ours saves). Seconds are wall-clock time and, in brackets, CPU time, which
other work on the machine affects less.

The curve's embeddings are float32, as models give them, and so is the input with which memory is compared. Up to
20 000 rows, the route without a matrix is compared with the one with a matrix, scikit-learn's Ward and, if installed,
fastcluster's `linkage_vector`, which needs no matrix either. The last two build the tree alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from weakspot.slices import ClusterNode

PAIRED = [f"{n}x{d}" for n in (2000, 5000, 10000, 20000) for d in (512, 2048)]
CURVE = ["5000x512", "10000x512", "20000x512", "40000x512", "100000x512", "20000x2048"]
ALONE = ["200000x512", "1000000x128"]
MATRIX = 20_000  # rows up to which the others are run, too
SUBSET = 10_000  # rows whose tree is compared
AGREEMENT = "10000x128"
START, STOP = "<!-- benchmark -->", "<!-- end of benchmark -->"


def data(n: int, d: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings as after a ReLU, in 60 overlapping groups of unequal size, four of them mostly wrong."""
    random = np.random.default_rng(0)
    groups = random.choice(60, n, p=random.dirichlet(np.full(60, 2.0)))
    latent = (random.normal(size=(60, 16)) * 1.5)[groups] + random.normal(size=(n, 16))
    x = latent.astype(dtype) @ random.normal(size=(16, d)).astype(dtype)
    for start in range(0, n, 10_000):
        x[start : start + 10_000] += random.normal(size=(min(10_000, n - start), d))
    np.maximum(x, 0, out=x)
    return x, random.random(n) > np.where(groups < 4, 0.7, 0.06)


class Watch:
    """Adds up the wall-clock and CPU time spent inside it."""

    def __init__(self) -> None:
        self.times = {"clock": 0.0, "cpu": 0.0}

    def __enter__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.times = self.read()

    def read(self) -> dict[str, float]:
        return {
            "clock": self.times["clock"] + time.perf_counter() - self._start[0],
            "cpu": self.times["cpu"] + time.process_time() - self._start[1],
        }


def ours(n: int, d: int) -> dict[str, Any]:
    from weakspot import Predictions
    from weakspot.methods.udis import UDIS

    exact = n <= MATRIX
    x, correct = data(n, d, "float64" if exact else "float32")
    for route in (None, 50):  # compile, or load what an earlier run compiled
        UDIS(approximate=route).fit(Predictions.from_arrays(embeddings=x[:400], correct=correct[:400]))
    p = Predictions.from_arrays(embeddings=x, correct=correct)
    watch = Watch()
    with watch:
        u = UDIS(approximate=None if exact else 4000).fit(p)
    return {
        **watch.times,
        "cut": u.cut_,
        "cuts": len(u.cut_scores_),
        "failing": len(u.slices_),
        "passes": passes(u.tree_) / n,
    }


def passes(tree: ClusterNode) -> int:
    """Return how many examples the published code would send through the model again: every node's."""
    return sum(int(node.size) for node in tree.walk())


def theirs(n: int, d: int) -> dict[str, Any]:
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import silhouette_score

    from weakspot.methods.udis.cut import cut_at
    from weakspot.methods.udis.cut_choice import cut_range

    x, _ = data(n, d, "float64")
    watch = Watch()
    with watch:
        children = AgglomerativeClustering().fit(x).children_
    sizes = np.ones(2 * n - 1)
    for t, (a, b) in enumerate(children):
        sizes[n + t] = sizes[a] + sizes[b]
    linkage = np.column_stack([children, np.zeros(n - 1), sizes[n:]])
    for k in np.linspace(*cut_range(linkage, sizes[:n], 5, 100), 7).round().astype(int):
        labels = cut_at(linkage, int(k)).labels
        with watch:
            silhouette_score(x, labels)
    return {**watch.times}


def fit_with_matrix_limit(n: int, d: int, limit: float) -> dict[str, Any]:
    """Measure the whole fit with at most `limit` GB of matrix: time to the tree and in all, memory beyond the input."""
    from weakspot import Predictions
    from weakspot.methods.udis import UDIS

    x, correct = data(n, d, "float32")
    settings = {"memory_limit": limit, "approximate": None}
    UDIS(**settings).fit(Predictions.from_arrays(embeddings=x[:400], correct=correct[:400]))
    p = Predictions.from_arrays(embeddings=x, correct=correct)
    watch, tree = Watch(), {}

    def callback(stage: str, done: int, total: int) -> None:
        if stage == "merging" and done == total:
            tree.update(watch.read())

    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    with watch:
        u = UDIS(**settings).fit(p, callback)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {
        **watch.times,
        "tree": tree,
        "inputs": more / x.nbytes,
        "cut": u.cut_,
        "cuts": len(u.cut_scores_),
        "rises": bool((np.diff(u.linkage_[:, 2]) >= 0).all()),
    }


def same_tree(n: int, d: int) -> dict[str, Any]:
    """Return whether the tree of the first rows is the same without a matrix as with one in float64."""
    import torch

    from weakspot.methods.udis.matrix_free_leaves import MatrixFreeLeaves
    from weakspot.methods.udis.matrix_leaves import MatrixLeaves

    x, some = data(n, d, "float32")[0], np.arange(min(n, SUBSET))

    def quiet(stage: str, done: int, total: int) -> None: ...

    matrix = MatrixLeaves.of(x, some, np.ones(len(some)), "float64", quiet).linkage(quiet)
    lean = MatrixFreeLeaves(x, some, np.ones(len(some)), "float64", torch.device("cpu")).linkage(quiet)
    return {
        "same": bool((matrix[:, [0, 1, 3]] == lean[:, [0, 1, 3]]).all() and np.allclose(matrix, lean, 1e-9))
    }


def other_tree(n: int, d: int, who: str) -> dict[str, Any]:
    x, watch = data(n, d, "float64")[0], Watch()
    if who == "scikit-learn":
        from sklearn.cluster import AgglomerativeClustering

        with watch:
            AgglomerativeClustering().fit(x)
    else:
        import fastcluster  # optional, in no extra: pip install fastcluster

        with watch:
            fastcluster.linkage_vector(x, "ward")
    return {**watch.times}


def run(who: str, size: str, threads: int) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--child", who, size],
        env=os.environ | dict.fromkeys(names, str(threads)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child(who: str, size: str) -> None:
    n, d = map(int, size.split("x"))
    measured = {
        "ours": lambda: ours(n, d),
        "theirs": lambda: theirs(n, d),
        "without": lambda: fit_with_matrix_limit(n, d, 1e-9),
        "with": lambda: fit_with_matrix_limit(n, d, 8),
        "same": lambda: same_tree(n, d),
    }
    result = measured[who]() if who in measured else other_tree(n, d, who)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
    print(json.dumps(result | {"gigabytes": peak}))


def paired(sizes: list[str], repeats: int, threads: int) -> list[str]:
    lines = [
        "| n × d | scikit-learn, s | UDIS, s | ratio | cuts scored | peak GB | passes saved |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in sizes:
        rounds = [(run("theirs", size, threads), run("ours", size, threads)) for _ in range(repeats)]
        their, our = rounds[0]
        seconds = [times([pair[side] for pair in rounds]) for side in (0, 1)]
        ratios = [median(a[clock] / b[clock] for a, b in rounds) for clock in ("clock", "cpu")]
        lines.append(
            f"| {spaced(size)} | {seconds[0]} | {seconds[1]} | {ratios[0]:.1f} ({ratios[1]:.1f}) | "
            f"7, {our['cuts']} | {their['gigabytes']:.2f}, {our['gigabytes']:.2f} | {our['passes']:.1f} n |"
        )
        print(lines[-1], file=sys.stderr)
    return lines


def curve(sizes: list[str], threads: int) -> list[str]:
    lines = [
        "| n × d | tree, s | the fit, s | cuts scored | peak GB | of the input, beyond it | heights rise, same tree "
        "| with a matrix, s | its peak GB | scikit-learn's tree, s | fastcluster's, s |",
        "|---" * 11 + "|",
    ]
    for size in sizes:
        our, same = run("without", size, threads), run("same", size, threads)
        others = ["", "", "", ""]
        if int(size.split("x")[0]) <= MATRIX:
            matrix = run("with", size, threads)
            trees = [run("scikit-learn", size, threads)]
            trees += [run("fastcluster", size, threads)] if find_spec("fastcluster") else []
            others = [times([matrix]), f"{matrix['gigabytes']:.2f}", *(times([tree]) for tree in trees), ""][
                :4
            ]
        checks = " ".join("yes" if fine else "NO" for fine in (our["rises"], same["same"]))
        lines.append(
            f"| {spaced(size)} | {times([our['tree']])} | {times([our])} | {our['cuts']} | {our['gigabytes']:.2f} | "
            f"{our['inputs']:.2f} × | {checks} | " + " | ".join(others) + " |"
        )
        print(lines[-1], file=sys.stderr)
    return lines


def alone(sizes: list[str], threads: int) -> list[str]:
    lines = [
        "| n × d, approximate | UDIS, s | peak GB | of it the embeddings | cut | failing |",
        "|---|---|---|---|---|---|",
    ]
    for size in sizes:
        our = run("ours", size, threads)
        n, d = map(int, size.split("x"))
        lines.append(
            f"| {spaced(size)} | {times([our])} | {our['gigabytes']:.2f} | {4 * n * d / 1e9:.2f} | "
            f"{our['cut']} | {our['failing']} |"
        )
        print(lines[-1], file=sys.stderr)
    return lines


def separate(n: int, d: int) -> np.ndarray:
    """Return 24 groups that lie well apart."""
    random = np.random.default_rng(0)
    return (2 * random.normal(size=(24, d)))[random.choice(24, n)] + random.normal(size=(n, d))


def agreement(size: str) -> list[str]:
    """Return a table of how similar other cuts into k clusters are to exact Ward's: adjusted Rand index, 1 if the same.

    For comparison, it also shows exact Ward's own cuts after noise of a hundredth of the spread.
    """
    from sklearn.metrics import adjusted_rand_score

    from weakspot import Predictions
    from weakspot.methods.udis import UDIS
    from weakspot.methods.udis.cut import cut_at

    n, d = map(int, size.split("x"))
    cuts = (2, 6, 12, 24, 50, 100, 200, 400)
    lines = [f"| {spaced(size)} | " + " | ".join(f"k = {k}" for k in cuts) + " |", "|---" * 9 + "|"]

    def exact(x: np.ndarray) -> list[np.ndarray]:
        u = UDIS(cut=2, approximate=None).fit(record(x))
        return [cut_at(u.linkage_, k).labels for k in cuts]

    def record(x: np.ndarray) -> Predictions:
        return Predictions.from_arrays(embeddings=x, correct=np.arange(n) % 10 > 0)

    for name, x in (("overlapping groups", data(n, d, "float64")[0]), ("24 separate groups", separate(n, d))):
        reference = exact(x)
        noise = 0.01 * x.std() * np.random.default_rng(1).normal(size=x.shape)
        found = {"exact, 1 % noise": exact(x + noise)}
        for m in (1000, 4000):
            labels = [UDIS(cut=k, approximate=m).fit(record(x)).labels_ for k in cuts]
            found[f"{m} micro-clusters"] = labels
        for other, labels in found.items():
            alike = [adjusted_rand_score(a, b) for a, b in zip(reference, labels, strict=True)]
            lines.append(f"| {name}: {other} | " + " | ".join(f"{score:.3f}" for score in alike) + " |")
    return lines


def times(runs: list[dict[str, Any]]) -> str:
    clock, cpu = (median(run[name] for run in runs) for name in ("clock", "cpu"))
    return f"{clock:.3g} ({cpu:.3g})"


def spaced(size: str) -> str:
    return size.replace("x", " × ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", help="n x d to compare with scikit-learn, such as 5000x512")
    parser.add_argument("--curve", nargs="*", default=[], metavar="SIZE", help="n x d without a matrix")
    parser.add_argument("--alone", nargs="*", default=[], metavar="SIZE", help="n x d for ours alone")
    parser.add_argument("--agreement", metavar="SIZE", help="n x d for approximate against exact cuts")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of theirs and ours, for the medians")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--docs", type=Path, help="a page to write the tables into")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    sizes, points, lone, alike = options.sizes, options.curve, options.alone, options.agreement
    if not (sizes or points or lone or alike):
        sizes, points, lone, alike = PAIRED, CURVE, ALONE, AGREEMENT
    tables = []
    if sizes:
        tables.append(paired(sizes, options.repeats, options.threads))
    if points:
        tables.append(curve(points, options.threads))
    if lone:
        tables.append(alone(lone, options.threads))
    if alike:
        tables.append(agreement(alike))
    text = "\n\n".join("\n".join(lines) for lines in tables)
    print(text)
    if options.docs:
        page = options.docs.read_text()
        before, after = page.index(START) + len(START), page.index(STOP)
        options.docs.write_text(f"{page[:before]}\n\n{text}\n\n{page[after:]}")


if __name__ == "__main__":
    main()
