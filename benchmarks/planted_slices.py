"""How often does a method find a failure that was planted? Settings with a known answer, on real images and sentences.

    python benchmarks/planted_slices.py --split quick                     # scikit-learn's digits; minutes
    python benchmarks/planted_slices.py --split report --root data        # everything; an hour or two on two cores
    python benchmarks/planted_slices.py --split report --against domino --docs docs/benchmark.md \\
        --plot docs/images/benchmark.svg
    python benchmarks/planted_slices.py --split fresh3 fresh4 --against domino     # the settings of both, together

The protocol is that of the Domino paper (Eyuboglu et al., 2022): a class is thinned (rare), labels within a class are
flipped (noisy), or an attribute is correlated with the target (correlation). A method is fitted on 1000 validation
examples and scored on 2000 others: success is a precision above 0.8 among the ten that it ranks first. Predictions are
drawn (synthetic), or those of a model trained on 7000 more (trained; settings in which it does not fail where it should
are left out), and the embedding is the model's own, that of its layer before, or that of an encoder that knows nothing
of the target.

Each setting belongs to a split: tune on `tune` (and `tune2`, `tune3`), report on `report`, look at `fresh` once, and
then at `fresh2` to `fresh6` in turn. Models' answers and results are kept, one line for each setting and method, in
outputs/planted, and a run that was interrupted continues from there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
from planted.pages import interval, write_between
from planted.settings import FIRST_SEED, KINDS, Network, Setting, settings
from planted.sources import ADVICE

STORE = Path("outputs/planted")
METRICS = ("success", "precision@10", "average precision")
GROUPS = {
    ("synthetic", "other"): "another encoder's embedding",
    ("trained", "own"): "model's own embedding",
    ("trained", "earlier"): "model's earlier layer",
    ("trained", "other"): "another encoder's embedding",
}
PREDICTIONS = {"plain": "{} predictions", "resnet": "{} residual networks"}


def measure(setting: Setting, names: list[str], root: Path) -> list[dict[str, Any]]:
    """Return the scores of some methods in one setting; if the setting is not valid, lines that say so."""
    from planted.cases import case
    from planted.contenders import contenders
    from planted.scores import scores

    made = case(setting, root, STORE / "cases")
    if made is None:
        return [{**asdict(setting), "method": name, "valid": False} for name in names]
    lines = []
    for name in names:
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            memberships = contenders()[name](made, setting.seed)
        seconds = time.process_time() - started
        found = scores(memberships, made.test_slices, setting.seed)
        lines.append({**asdict(setting), "method": name, "valid": True, **found, "seconds": seconds})
    return lines


def results(
    wanted: list[Setting], split: str, names: list[str], root: Path, jobs: int
) -> list[dict[str, Any]]:
    """Return the results of some settings of a split; run those that are not stored."""
    STORE.mkdir(parents=True, exist_ok=True)
    file = STORE / f"{split}.jsonl"
    lines = (
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    )
    stored = {
        (Setting(**{name: line[name] for name in Setting.__dataclass_fields__}), line["method"]): line
        for line in lines
    }
    missing = {setting: [name for name in names if (setting, name) not in stored] for setting in wanted}
    todo = {setting: lacking for setting, lacking in missing.items() if lacking}
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))  # what the processes inherit before they import NumPy
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool, file.open("a", encoding="utf-8") as out:
        running = {pool.submit(measure, setting, lacking, root): setting for setting, lacking in todo.items()}
        try:
            for done, future in enumerate(as_completed(running), 1):
                for line in future.result():
                    stored[running[future], line["method"]] = line
                    out.write(json.dumps(line) + "\n")
                out.flush()
                if done % 10 == 0 or done == len(todo):
                    print(f"{done} of {len(todo)} settings", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # otherwise the error would wait for hours of other settings
            raise
    return [stored[setting, name] for setting in wanted for name in names]


def grouped(found: list[dict[str, Any]]) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    """Yield the valid results by predictions and embedding: a title, the number of settings, and the lines."""
    for (predictions, embedding), shown in GROUPS.items():
        some = [
            one
            for one in found
            if one["valid"] and (one["predictions"], one["embedding"]) == (predictions, embedding)
        ]
        if some:
            whose = PREDICTIONS[some[0]["network"]].format(predictions.capitalize())
            yield f"{whose}, {shown}", len({one["seed"] for one in some}), some


def table(found: list[dict[str, Any]], names: list[str], against: str | None) -> list[str]:
    lines: list[str] = []
    for title, n, some in grouped(found):
        difference = f" | success less {against}'s" if against else ""
        sources = list(dict.fromkeys(one["source"] for one in some))
        lines += [
            "",
            f"### {title}: {n} settings",
            "",
            f"| method | {' | '.join((*KINDS, *sources))} | all: success | P@10 | AP | CPU s{difference} |",
            "|" + "---|" * (len(KINDS) + len(sources) + 5 + bool(against)),
        ]
        for name in names:
            mine = {one["seed"]: one for one in some if one["method"] == name}
            cells = [
                _share([one["success"] for one in mine.values() if one[column] == value])
                for column, values in (("kind", KINDS), ("source", sources))
                for value in values
            ]
            cells += [interval(np.array([one[metric] for one in mine.values()])) for metric in METRICS]
            cells.append(f"{np.mean([one['seconds'] for one in mine.values()]):.2f}")
            if against:
                theirs = {one["seed"]: one for one in some if one["method"] == against}
                cells.append(interval(np.array([mine[s]["success"] - theirs[s]["success"] for s in mine])))
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines[1:]


def by_embedding(found: list[dict[str, Any]], names: list[str], against: str) -> list[str]:
    """Return a table: how much more is found in each embedding of the trained models than by `against` in their own."""
    successes = {
        (one["embedding"], one["method"], one["seed"]): one["success"]
        for one in found
        if one["valid"] and one["predictions"] == "trained"
    }
    embeddings = [embedding for predictions, embedding in GROUPS if predictions == "trained"]
    theirs = {
        seed: success
        for (embedding, method, seed), success in successes.items()
        if embedding == "own" and method == against
    }
    if not theirs:
        return []
    lines = [
        "",
        f"### The same trained models in every embedding: success less {against}'s in the model's own embedding",
        "",
        f"| method | {' | '.join(GROUPS['trained', embedding] for embedding in embeddings)} |",
        "|" + "---|" * (len(embeddings) + 1),
    ]
    for name in names:
        differences = [
            [
                successes[embedding, name, seed] - success
                for seed, success in theirs.items()
                if (embedding, name, seed) in successes
            ]
            for embedding in embeddings
        ]
        cells = [f"{interval(np.array(some))} ({len(some)})" if some else "–" for some in differences]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def draw(found: list[dict[str, Any]], names: list[str], split: str, file: Path) -> None:
    """Draw the successes as a figure."""
    from planted.plots import success_plot

    panels = {
        title.replace(", ", ",\n") + f"\n({n} settings)": {
            name: [one["success"] for one in some if one["method"] == name] for name in names
        }
        for title, n, some in grouped(found)
    }
    success_plot(
        panels, f"Planted slices found, split {split}: means and 95 % intervals; dotted, the ceiling", file
    )


def shortfalls(found: list[dict[str, Any]], least: dict[str, float]) -> list[str]:
    """Return a message for each method that succeeds less often, over all valid settings, than `least` requires."""
    messages = []
    for name, asked in least.items():
        successes = [one["success"] for one in found if one["valid"] and one["method"] == name]
        if not successes or np.mean(successes) < asked:
            reached = f"{np.mean(successes):.2f}" if successes else "nothing"
            messages.append(
                f"{name} reaches a success of {reached} over {len(successes)} settings, less than {asked}"
            )
    return messages


def _share(values: Iterable[float]) -> str:
    listed = list(values)
    return f"{np.mean(listed):.2f} ({len(listed)})" if listed else "–"


def main() -> None:
    from planted.contenders import contenders

    advice = "\n".join(f"  {name}: {words}" for name, words in ADVICE.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"sources below --root:\n{advice}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--split", nargs="+", choices=FIRST_SEED, default=["quick"], help="several: their settings pooled"
    )
    parser.add_argument(
        "--methods", nargs="*", choices=contenders(), default=list(contenders()), metavar="METHOD"
    )
    parser.add_argument(
        "--against", choices=contenders(), metavar="METHOD", help="show paired differences to this one"
    )
    parser.add_argument(
        "--least",
        nargs="*",
        default=[],
        metavar="METHOD=SUCCESS",
        help="exit with 1 if a method succeeds less often over all settings",
    )
    parser.add_argument(
        "--network", choices=get_args(Network), default="plain", help="which kind of models to train"
    )
    parser.add_argument("--sources", nargs="*", choices=ADVICE, help="use only these")
    parser.add_argument("--root", type=Path, default=Path("data"), help="the folder of the sources")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--docs", type=Path, help="a page to write the tables into")
    parser.add_argument("--plot", type=Path, help="a figure to draw: .svg, .png or .pdf (by matplotlib)")
    options = parser.parse_args()
    least = {name: float(asked) for name, _, asked in (one.partition("=") for one in options.least)}
    if unknown := [name for name in least if name not in options.methods]:
        parser.error(f"--least {unknown[0]}: this is not one of the methods that are measured")
    names = list(dict.fromkeys([*options.methods, *([options.against] if options.against else [])]))
    found = []
    for split in dict.fromkeys(options.split):
        wanted = [
            one
            for one in settings(split, options.network)
            if not options.sources or one.source in options.sources
        ]
        found += results(wanted, split, names, options.root, options.jobs)
    lines = table(found, names, options.against)
    if options.against:
        lines += by_embedding(found, names, options.against)
    text = "\n".join(lines)
    print(text)
    if options.docs:
        network = [] if options.network == "plain" else [options.network]
        write_between(options.docs, f"planted slices: {', '.join(options.split + network)}", text)
    if options.plot:
        draw(found, names, " and ".join(options.split), options.plot)
    if messages := shortfalls(found, least):
        sys.exit("\n".join(messages))


if __name__ == "__main__":
    main()
