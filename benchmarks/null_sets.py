"""How often a method's slices are confirmed if none is real, and how often if one is.

    python benchmarks/null_sets.py                                  # everything; minutes on two processes
    python benchmarks/null_sets.py --methods udis --sets 20         # a look at one method
    python benchmarks/null_sets.py --docs docs/evidence.md          # also write the tables into the page
    python benchmarks/null_sets.py --other-tasks                    # tags, numbers and patients instead of classes
    python benchmarks/null_sets.py --slow 200                       # as many sets for the expensive searches, too

Null sets have no slice: losses are independent of everything, or depend on the label alone (a class, twenty tags, a
number), or on the patient, whose rows stay on one side. A method searches one half of each set, and what it finds is
tested on the other, as `discover.py` does it: slices are cut by label, merged and reported as findings. The tables also
show the slices themselves, tested as they are, and two misuses of the same test: not within labels, and on the rows in
which the slices were found. Planted sets have one true slice, a Gaussian group of one label in which the model is wrong
two or three times as often as elsewhere; with tags, numbers and patients, a Gaussian group that is independent of them.

Results are kept, one line per set, in outputs/null_sets.jsonl, and a run that was interrupted continues from there;
delete the file after a change of the code.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, false_discovery_control

from weakspot.evaluation import Evidence, confirm
from weakspot.evaluation.synthetic import Kind, null_predictions, planted_predictions
from weakspot.findings import Findings
from weakspot.findings.audited_examples import audit_examples, group_values
from weakspot.methods import Method, find, words
from weakspot.methods.base import AuditedRows
from weakspot.pipeline.search import search
from weakspot.predictions import Predictions
from weakspot.slices import Slices

MARKS = ("<!-- null sets -->", "<!-- end of null sets -->")
OTHER_MARKS = ("<!-- other null sets -->", "<!-- end of other null sets -->")
STORE = Path("outputs/null_sets.jsonl")
ROWS = 2000  # half of them to search, the others to test
LEVEL = 0.05
METHODS: dict[str, Callable[[], Method]] = {
    "spotlight search=published": partial(find("spotlight"), search="published"),
    **{word: find(word) for word in words() if word != "rules"},  # these sets have no attributes
}
SLOW_METHODS = ("planespot",)  # they take seconds per set
OWN_P = ("scan",)  # methods whose slices have a p-value of their own
NULLS: dict[str, Kind] = {
    "nothing": "independent",
    "the label": "label",
    "twenty tags": "tags",
    "a number": "number",
    "the patient": "patient",
}
PLANTED: dict[str, tuple[float, Kind]] = {
    "×2": (2.0, "independent"),
    "×3": (3.0, "independent"),
    "×3, twenty tags": (3.0, "tags"),
    "×3, a number": (3.0, "number"),
    "×3, patients": (3.0, "patient"),
}
CLASSES = ("nothing", "the label", "×2", "×3")
OTHER_TASKS = tuple(kind for kind in (*NULLS, *PLANTED) if kind not in CLASSES)


def measure(method: str, kind: str, seed: int) -> dict[str, Any]:
    """Search half of one set, and test on the other."""
    started = time.process_time()
    planted = np.zeros(ROWS, dtype=bool)
    if kind in PLANTED:
        times, depends_on = PLANTED[kind]
        p, planted = planted_predictions(times, ROWS, seed, depends_on)
    else:
        p = null_predictions(NULLS[kind], ROWS, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = "patient" if "patient" in p.attributes.column_names else None
        run = search(METHODS[method](), p, confirm=0.5, group=group)
        findings = Findings.build(p, run.slices, confirm=run.confirm, source=run.source)
    held = np.asarray(run.confirm)
    memberships = run.slices.weights[:, held]
    found = evidence(memberships, p.take(held), run.slices)
    reused = evidence(run.slices.weights[:, ~held], p.take(~held), run.slices)
    among = [
        e.p_unstratified_corrected for e in found if e.loss is not None and e.loss.inside > e.loss.outside
    ]
    mass = memberships.sum(axis=1)
    true = memberships @ planted[held] > 0.5 * mass
    return {
        "method": method,
        "kind": kind,
        "seed": seed,
        "slices": len(found),
        "tested": sum(e.p is not None for e in found),
        "findings_confirmed": sum(one.confirmed for one in findings.findings),
        "confirmed": sum(e.verdict == "confirmed" for e in found),
        "explained": sum(e.verdict == "explained_by_label" for e in found),
        "unstratified": sum(p is not None and p <= LEVEL for p in among),
        "own_p": own_p(run.slices) <= LEVEL,
        "same_rows": sum(e.verdict == "confirmed" for e in reused),
        "planted_confirmed": sum(
            e.verdict == "confirmed" for e in evidence(planted[None, held] * 1.0, p.take(held), run.slices)
        ),
        "true": int(true.sum()),
        "true_confirmed": sum(
            e.verdict == "confirmed" for e, is_true in zip(found, true, strict=True) if is_true
        ),
        "true_confirmed_bh": int((confirmed_by_benjamini_hochberg(found) & true).sum()),
        "seconds": time.process_time() - started,
    }


def own_p(slices: Slices) -> float:
    """Return the smallest p-value that a method gives its own slices on the rows it searched; 1 if it gives none."""
    return float(np.min(slices.parameters.get("p_values", np.ones(1)), initial=1.0))


def confirmed_by_benjamini_hochberg(found: list[Evidence]) -> np.ndarray:
    """Return which slices Benjamini and Hochberg's correction, valid for independent tests, would confirm."""
    p = np.array([np.nan if e.p is None else e.p for e in found])
    passed = np.zeros(len(p), dtype=bool)
    tested = ~np.isnan(p)
    if tested.any():
        passed[tested] = false_discovery_control(p[tested]) <= LEVEL
    return passed


def seeds(kind: str, sets: int) -> range:
    """Return separate seeds for every kind, so that no two kinds share a set's embeddings."""
    first = 1_000_000 * (CLASSES + OTHER_TASKS).index(kind)
    return range(first, first + (sets // 2 if kind in PLANTED else sets))


def evidence(memberships: np.ndarray, p: Predictions, slices: Slices) -> list[Evidence]:
    """Test memberships (k, n) in rows of the set, within labels and group by group, as findings are tested."""
    if not len(memberships):
        return []
    audited = audit_examples(AuditedRows(np.ones(len(p), dtype=bool), p), better=False, category=False)
    groups = group_values(p, slices)
    return confirm(memberships, p.losses, p.correct, audited.strata, level=LEVEL, groups=groups)


def results(tasks: Iterable[tuple[str, str, int]], jobs: int) -> list[dict[str, Any]]:
    """Return the results of all tasks; run those that are not stored."""
    tasks = list(tasks)
    stored: dict[tuple[str, str, int], dict[str, Any]] = {}
    if STORE.is_file():
        for line in STORE.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            stored[one["method"], one["kind"], one["seed"]] = one
    STORE.parent.mkdir(parents=True, exist_ok=True)
    missing = [task for task in tasks if task not in stored]
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))  # what the processes inherit before they import NumPy
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool, STORE.open("a", encoding="utf-8") as file:
        running = {pool.submit(measure, *task): task for task in missing}
        for done, future in enumerate(as_completed(running), 1):
            stored[running[future]] = future.result()
            file.write(json.dumps(stored[running[future]]) + "\n")
            file.flush()
            if done % 20 == 0 or done == len(missing):
                print(f"{done} of {len(missing)} sets")
    return [stored[task] for task in tasks]


def null_table(found: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| method | losses depend on | sets | slices tested | **a false finding** | a false slice | "
        "not within labels | on the rows searched | the method's own p |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method, kind, sets in grouped(found, tuple(NULLS)):
        tested = sum(one["tested"] for one in sets) / len(sets)
        cells = [share(sets, name) for name in ("confirmed", "unstratified", "same_rows")]
        cells.append(share(sets, "own_p") if method in OWN_P else "–")
        cells.insert(0, share(sets, "findings_confirmed", "**"))
        lines.append(f"| {method} | {kind} | {len(sets)} | {tested:.1f} a set | {' | '.join(cells)} |")
    return lines


def power_table(found: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| method | errors in the slice | sets | a slice found that is mostly it | such a slice is confirmed | "
        "by Benjamini-Hochberg | of those found | the true slice itself is | the method's own p |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method, kind, sets in grouped(found, tuple(PLANTED)):
        seen = [one for one in sets if one["true"]]
        cells = [
            share(sets, "true"),
            share(sets, "true_confirmed"),
            share(sets, "true_confirmed_bh"),
            share(seen, "true_confirmed") if seen else "–",
            share(sets, "planted_confirmed"),
            share(sets, "own_p") if method in OWN_P else "–",
        ]
        lines.append(f"| {method} | {kind} | {len(sets)} | {' | '.join(cells)} |")
    return lines


def grouped(
    found: list[dict[str, Any]], kinds: tuple[str, ...]
) -> Iterable[tuple[str, str, list[dict[str, Any]]]]:
    for method in METHODS:
        for kind in kinds:
            sets = [one for one in found if (one["method"], one["kind"]) == (method, kind)]
            if sets:
                yield method, kind, sets


def share(sets: list[dict[str, Any]], name: str, mark: str = "") -> str:
    """Return the share of sets in which the number is above 0, and its exact 95 % interval."""
    test = binomtest(sum(one[name] > 0 for one in sets), len(sets))
    interval = test.proportion_ci()
    return f"{mark}{test.statistic:.3f}{mark} [{interval.low:.3f}, {interval.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--sets", type=int, default=200, help="null sets of each kind (planted: half as many)"
    )
    parser.add_argument(
        "--slow", type=int, default=40, help=f"null sets of each kind for {', '.join(SLOW_METHODS)}"
    )
    parser.add_argument(
        "--other-tasks", action="store_true", help="tags, numbers and patients instead of classes"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--docs", type=Path, help="a page to write the tables into")
    options = parser.parse_args()
    tasks = [
        (method, kind, seed)
        for method in options.methods
        for kind in (OTHER_TASKS if options.other_tasks else CLASSES)
        for seed in seeds(kind, options.slow if method in SLOW_METHODS else options.sets)
    ]
    found = results(tasks, options.jobs)
    text = "\n\n".join("\n".join(table(found)) for table in (null_table, power_table))
    print(text)
    print(f"{sum(one['seconds'] for one in found) / 60:.0f} minutes of one processor in all")
    if options.docs:
        page = options.docs.read_text(encoding="utf-8")
        start, stop = OTHER_MARKS if options.other_tasks else MARKS
        before, after = page.index(start) + len(start), page.index(stop)
        options.docs.write_text(f"{page[:before]}\n\n{text}\n\n{page[after:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
