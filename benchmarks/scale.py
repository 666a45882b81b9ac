"""What a search costs by the number of examples: seconds, and memory other than mapped files.

    python benchmarks/scale.py --methods scan --rows 100000 1000000          # minutes on two cores
    python benchmarks/scale.py --methods scan --rows 10000000 --dtype float16
    python benchmarks/scale.py --methods gmm kmeans --docs docs/scale.md     # the page's other rows stay

Embeddings are drawn in groups of ten labels, the same for every method, and are memory-mapped from a file, like those
of `infer.py`. In one of the groups the model is wrong three times as often. Every fit is a process of its own, whose
memory is sampled twenty times a second: the anonymous memory that the fit adds, which a machine must have, without
pages of the file, which it may drop. The file is read once before, so that no disk access is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from planted.pages import write_between

STORE = Path("outputs/scale")
LABELS, GROUPS, WRONG = 10, 60, (0.1, 0.3)
_BLOCK = 100_000


def embeddings(n: int, d: int, dtype: str) -> Path:
    """Return the file of the embeddings; draw them if it does not exist."""
    path = STORE / f"{n}x{d}-{dtype}.npy"
    if not path.is_file():
        STORE.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        means = np.random.default_rng(0).normal(size=(GROUPS, d))
        out = np.lib.format.open_memmap(part, "w+", dtype, (n, d))
        for start in range(0, n, _BLOCK):
            stop = min(start + _BLOCK, n)
            noise = np.random.default_rng([2, start]).normal(size=(stop - start, d)).astype(np.float32)
            out[start:stop] = means[group_of(start, stop)] + noise
        out.flush()
        part.rename(path)
    return path


def group_of(start: int, stop: int) -> np.ndarray:
    return np.random.default_rng([1, start]).integers(GROUPS, size=stop - start)


def fit(method: str, n: int, d: int, dtype: str) -> dict[str, Any]:
    """Fit in this process; return what it cost."""
    from omegaconf import OmegaConf

    from weakspot import Predictions
    from weakspot.methods import find

    x = np.load(embeddings(n, d, dtype), mmap_mode="r")
    groups = np.concatenate([group_of(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)])
    labels = groups % LABELS
    wrong = np.random.default_rng(3).random(n) < np.where(groups == 0, WRONG[1], WRONG[0])
    p = Predictions.from_arrays(
        embeddings=x, labels=labels, predictions=(labels + wrong) % LABELS, losses=wrong * 2.0 + 0.1
    )
    word, *settings = method.split()
    searched = find(word)(**OmegaConf.to_container(OmegaConf.from_dotlist(settings)))
    with Memory() as memory:
        started, cpu = time.perf_counter(), time.process_time()
        searched.fit(p)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    weights = searched.slices_.weights
    top = np.argsort(-weights[0], kind="stable")[:1000] if len(weights) else np.empty(0, dtype=int)
    return {
        "method": method, "n": n, "d": d, "dtype": dtype, "seconds": seconds, "cpu": cpu,
        "before": memory.before, "peak": memory.peak, "true": float((groups[top] == 0).mean()) if len(top) else None,
    }  # fmt: skip


class Memory(threading.Thread):
    """Records the most anonymous memory of this process inside the `with` block, in bytes, and the memory before."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.peak = anonymous()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.05):
            self.peak = max(self.peak, anonymous())

    def __enter__(self) -> Memory:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()


def anonymous() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def in_a_process(arguments: list[str], threads: int) -> dict[str, Any]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    here = [sys.executable, __file__, "--one", *arguments]
    done = subprocess.run(
        here, env=os.environ | dict.fromkeys(names, str(threads)), capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stderr.strip().splitlines()[-1]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--methods", nargs="*", default=["scan"], help='words, with settings: "spotlight search=published"'
    )
    parser.add_argument("--rows", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--docs", type=Path, help="a page to write the table into")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        method, n, d, dtype = options.one
        print(json.dumps(fit(method, int(n), int(d), dtype)))
        return
    lines = [
        "| method | examples | embeddings | seconds | CPU s | anonymous memory | planted among the first 1000 |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for method in options.methods:
        for n in options.rows:
            path = embeddings(n, options.dim, options.dtype)
            with path.open("rb") as file:
                while file.read(2**26):  # into the page cache
                    pass
            one = in_a_process([method, str(n), str(options.dim), options.dtype], options.threads)
            held = (one["peak"] - one["before"]) / 2**20
            planted = "no slice" if one["true"] is None else f"{one['true']:.2f}"
            lines.append(
                f"| {method} | {n:,} | {n * options.dim * np.dtype(options.dtype).itemsize / 2**20:,.0f} MiB "
                f"| {one['seconds']:.1f} | {one['cpu']:.1f} | {held:,.0f} MiB | {planted} |"
            )
            print(lines[-1], flush=True)
    if options.docs:
        write_between(options.docs, "scale", "\n".join(with_earlier(options.docs, lines)))


def with_earlier(page: Path, lines: list[str]) -> list[str]:
    """Return the table with those rows of the page that were not measured again."""
    table = page.read_text(encoding="utf-8").split("<!-- scale -->")[1].split("<!-- end of scale -->")[0]
    rows = [*table.strip().split("\n")[2:], *lines[2:]]
    of = {tuple(row.split(" | ")[:3]): row for row in rows}
    return [*lines[:2], *sorted(of.values(), key=lambda row: (row.split(" | ")[0], len(row.split(" | ")[1])))]


if __name__ == "__main__":
    main()
