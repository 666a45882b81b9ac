"""Damaged and crafted inputs by the thousand, and how readers cope with each.

`benchmarks/fuzz.py` tries as many as it is asked for; `test_damaged_files.py` tries some dozens or hundreds.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyarrow import csv
from safetensors.numpy import save_file

from paths import FIXTURES
from samples import a_record, some_slices, unsealed
from weakspot import Findings, Predictions, Slices
from weakspot.interop.spotlight_results import read_spotlights
from weakspot.interop.udis_tree import read as read_tree
from weakspot.interop.udis_tree import to_tree
from weakspot.predictions.attributes import categorise
from weakspot.predictions.shards import set_aside_damaged, sound_shards, write_shard
from weakspot.slices.statistics import describe

SLOWEST = 10.0
"""Seconds that any input may take on a slow machine."""

_ODD = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 10**400, 0.5, 1e308, "", "x", "\ud800", "S100000000", [], {},
    [[]], [None], [1, 2, 3], {"a": 1}, [[[[[[0]]]]]],
)  # fmt: skip


_ODD_WORDS = (
    "", "[", "]", "{", "}", "{a: }", "'", "\"", ": ", ":", "- ", "-", "? ", "#", "# @package ", "_global_",
    "&a ", "*a", "*b", "<<: ", "!!python/object:os.system ", "!!binary ", "!!float ", "!", "|", ">", "%", "@",
    "`", "---", "...", "\t", "\n", "\n  ", "\r", "${", "}", "${x}", "${method}", "${oc.env:NONE}", "${now:%Y}",
    "???", "null", "~", "true", "1e999", ".nan", "9" * 400, "2024-01-01", "0o7", "1_0", "\ud800", "\0", "é",
    "[" * 200, "{a: " * 100, "_target_", "defaults", "override ", "_self_", "_convert_: all", "optional ", "/",
    "..", "@a.b",
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A format: how to make valid files, read them, and use what was read."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    use: Callable[[Any], None]


def use_slices(slices: Slices) -> None:
    assert repr(slices)
    assert slices.equals(slices)
    assert ((slices.weights >= 0) & (slices.weights <= 1.001)).all()
    assert len(set(slices.ids.tolist())) == len(slices.ids)
    nodes = list(islice(slices.tree.walk(), 1000)) if slices.tree else []
    assert len(nodes) < 1000
    for node in nodes:
        assert len(slices.ids[[*node.members, *node.wrong_members]]) >= len(node.members)
    with tempfile.TemporaryDirectory() as folder:
        assert Slices.load(slices.save(Path(folder) / "slices")).equals(slices)


def use_predictions(p: Predictions) -> None:
    assert repr(p)
    assert p.accuracy is None or 0 <= p.accuracy <= 1
    assert len(set(p.ids.tolist())) == len(p)
    assert np.isfinite(p.embeddings).all()
    "".join(p.ids.tolist()).encode()
    for row in range(len(p)):
        f"{p.name_of(p.labels, row)} {p.name_of(p.predictions, row)}".encode()
    json.dumps({one.name: (one.values, one.codes.tolist()) for one in categorise(p.attributes)}).encode()
    describe(np.ones((1, len(p))), p)
    assert len(p.take([0])) == 1
    with tempfile.TemporaryDirectory() as folder:
        again = Predictions.load(p.save(Path(folder) / "record"))
        assert again.ids.tolist() == p.ids.tolist()
        assert again.attributes.equals(p.attributes)


def make_findings(folder: Path) -> Path:
    p = a_record()
    weights = np.stack([p.labels == 0, p.labels == 1]).astype(float)
    slices = replace(some_slices(), weights=weights, statistics=describe(weights, p))
    return Findings.build(p, slices).save(folder / "findings").parent


def use_findings(findings: Findings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        findings.save(folder)
        assert Findings.load(folder).equals(findings)


def use_shards(shards: list[dict[str, np.ndarray]]) -> None:
    p = a_record()
    for arrays in shards:
        for name in ("embeddings", "outputs", "losses"):
            np.testing.assert_array_equal(arrays[name], getattr(p, name)[arrays["index"]])


def make_store(folder: Path, checked: bool) -> Path:
    """A store of predictions, with checksums or as earlier versions wrote it."""
    store = a_record().save(folder / "store")
    if not checked:
        unsealed(store / "manifest.json")
    return store


def make_unsealed(folder: Path) -> Path:
    """Slices as earlier versions wrote them."""
    return unsealed(some_slices().save(folder / "slices") / "slices.json").parent


def make_shards(folder: Path) -> Path:
    p = a_record()
    for rows in np.arange(40).reshape(4, 10):
        arrays = {name: getattr(p, name)[rows] for name in ("embeddings", "outputs", "losses", "labels")}
        write_shard(folder / "unfinished", 0, {"index": rows} | arrays)
    return folder / "unfinished"


def columns() -> dict[str, Any]:
    p = a_record()
    return {
        "ids": p.ids,
        "labels": np.array(["cat", "dog", "eel"])[p.labels],
        "losses": p.losses,
        "counts": p.counts,
        "colour": p.attributes["colour"].to_numpy(zero_copy_only=False).astype(str),
        "age": p.attributes["age"].to_numpy(),
        "day": np.datetime64("2024-01-01") + np.arange(len(p)),
    }


def arrays() -> dict[str, np.ndarray]:
    p = a_record()
    return {"embeddings": np.asarray(p.embeddings), "outputs": np.asarray(p.outputs)}


def make_npz(folder: Path, save: Callable[..., None]) -> Path:
    save(folder / "p.npz", **arrays(), **columns())
    return folder / "p.npz"


def make_parquet(folder: Path, **options: Any) -> Path:
    table = {name: list(array) for name, array in arrays().items()}
    pq.write_table(pa.table(columns() | table), folder / "p.parquet", **options)
    return folder / "p.parquet"


def make_pair(folder: Path) -> Path:
    (folder / "pair").mkdir()
    save_file(arrays(), folder / "pair" / "p.safetensors")
    csv.write_csv(pa.table(columns()), folder / "pair" / "p.csv")
    return folder / "pair"


def read_shards(folder: Path) -> list[dict[str, np.ndarray]]:
    set_aside_damaged(folder, 40)
    sound = list(sound_shards(folder, 40))
    if len(sound) < 4:
        use_shards(sound)
        raise ValueError(f"{folder}: one is set aside, and the others are right")
    return sound


def make_inference(folder: Path, protocol: int, tensors: bool) -> Path:
    p = a_record(12)
    found = {"embeddings": p.embeddings, "losses": p.losses, "outputs": p.outputs, "labels": p.labels}
    kept = {
        name: torch.from_numpy(np.array(array)) if tensors else np.array(array)
        for name, array in found.items()
    }
    aux = {"note": "a", "history": [1.0, np.float64(2.0), None], "again": kept["labels"]}
    (folder / "p.pkl").write_bytes(pickle.dumps(kept | {"aux": aux}, protocol))
    return folder / "p.pkl"


def make_spotlight(folder: Path) -> Path:
    fields = {
        "unnormalized_weights": torch.linspace(0, 1, 20),
        "spotlight_mean": np.ones(3),
        "spotlight_precision": torch.eye(3) * 0.5,
        "training_history": {"loss": [0.5, 0.25], "weight": np.ones(2), "lr": [0.1, 0.1]},
    }
    (folder / "s.pkl").write_bytes(pickle.dumps(fields))
    return folder / "s.pkl"


def use_tree(published: dict[str, Any]) -> None:
    images = [str(name) for leaf in to_leaves(published) for name in leaf["images"]]
    tree = to_tree(published, list(dict.fromkeys(images)))
    assert tree.size == len(images)
    assert 0 <= tree.accuracy <= 1
    "".join(images).encode()


def to_leaves(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if node["leaf"] == "True":
        yield node
    for child in node.get("children", ()):
        yield from to_leaves(child)


def a_tree_file() -> Path:
    """A small tree file of the published tool."""
    return OLD.parents[1] / "seed_tree_bed.json"


OLD = FIXTURES / "slices_format_2" / "udis"

FORMATS = {
    "slices of format 2": Format(
        lambda folder: Path(shutil.copytree(OLD, folder / "old")), Slices.load, use_slices
    ),
    "slices": Format(lambda folder: some_slices().save(folder / "slices"), Slices.load, use_slices),
    "slices without checksums": Format(make_unsealed, Slices.load, use_slices),
    "findings": Format(make_findings, Findings.load, use_findings),
    "findings without checksums": Format(
        lambda folder: unsealed(make_findings(folder) / "findings.json").parent, Findings.load, use_findings
    ),
    "store": Format(lambda folder: make_store(folder, True), Predictions.load, use_predictions),
    "store without checksums": Format(
        lambda folder: make_store(folder, False), Predictions.load, use_predictions
    ),
    "shards": Format(make_shards, read_shards, use_shards),
    "npz": Format(lambda folder: make_npz(folder, np.savez), Predictions.load, use_predictions),
    "compressed npz": Format(
        lambda folder: make_npz(folder, np.savez_compressed), Predictions.load, use_predictions
    ),
    "parquet": Format(make_parquet, Predictions.load, use_predictions),
    "plain parquet": Format(
        lambda folder: make_parquet(folder, compression="none", use_dictionary=False),
        Predictions.load,
        use_predictions,
    ),
    "published inference": Format(
        lambda folder: make_inference(folder, 4, False), Predictions.load, use_predictions
    ),
    "published inference of tensors": Format(
        lambda folder: make_inference(folder, 2, True), Predictions.load, use_predictions
    ),
    "published spotlight": Format(make_spotlight, read_spotlights, use_slices),
    "published tree": Format(
        lambda folder: Path(shutil.copy(OLD.parents[1] / "seed_tree_bed.json", folder)), read_tree, use_tree
    ),
    "safetensors and csv": Format(
        make_pair, lambda folder: Predictions.load(folder / "p.safetensors"), use_predictions
    ),
}


def mutated(data: bytes, steps: Sequence[int]) -> bytes:
    """The bytes, damaged once per step."""
    for step in steps:
        data = _mutated(bytearray(data), np.random.default_rng(step))
    return data


def _mutated(data: bytearray, rng: np.random.Generator) -> bytes:
    if not data:
        return rng.bytes(8)
    at = int(rng.integers(len(data)))
    length = min(int(rng.integers(1, 33)), len(data) - at)
    match rng.integers(8):
        case 0:
            data[at] ^= 1 << int(rng.integers(8))
        case 1:
            data[at : at + length] = rng.bytes(length)
        case 2:
            data[at : at + length] = bytes([int(rng.choice([0, 255]))]) * length
        case 3:
            del data[at:]
        case 4:
            del data[at : at + length]
        case 5:
            data[at:at] = rng.bytes(length)
        case 6:
            data[at:at] = data[at : at + length]
        case _:
            width = int(rng.choice([1, 2, 4, 8]))
            odd = int(rng.choice(np.array(_ODD, dtype=object))) % 2 ** (8 * width)
            data[at : at + width] = odd.to_bytes(width, str(rng.choice(["little", "big"])))  # type: ignore[arg-type]
    return bytes(data)


def mutated_json(text: str, steps: Sequence[int]) -> str:
    """A JSON document with some values replaced or removed."""
    document = json.loads(text)
    for step in steps:
        rng = np.random.default_rng(step)
        places = list(_places(document))
        holder, key = places[rng.integers(len(places))] if places else ({}, "")
        if places and rng.random() < 0.2:
            del holder[key]
        else:
            holder[key] = deepcopy(
                _ODD_VALUES[rng.integers(len(_ODD_VALUES))]
            )  # a shared one might end up holding itself
        if rng.random() < 0.1 and isinstance(holder, list):
            holder.append(deepcopy(holder[0]) if holder else 0)
    return json.dumps(document)


def mutated_words(text: str, steps: Sequence[int]) -> str:
    """A text with some words replaced, inserted, copied elsewhere or removed."""
    words = re.split(r"(\W)", text)
    for step in steps:
        rng = np.random.default_rng(step)
        at = int(rng.integers(len(words)))
        match rng.integers(4):
            case 0:
                words[at] = _ODD_WORDS[rng.integers(len(_ODD_WORDS))]
            case 1:
                words.insert(at, _ODD_WORDS[rng.integers(len(_ODD_WORDS))])
            case 2:
                words.insert(at, words[rng.integers(len(words))])
            case _:
                words[at] = ""
    return "".join(words)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def damaged(whole: Path, to: Path, seed: Sequence[int], steps: Sequence[int]) -> Path:
    """A copy at `to` of a file or folder, one file of which is damaged.

    Args:
        whole: The file or folder to copy; undamaged files of a folder are hard links.
        to: Where to put the copy.
        seed: Chooses the damaged file and whether it is damaged as bytes, JSON or words.
        steps: The seed of each single damage.
    """
    rng = np.random.default_rng([*seed])
    if whole.is_dir():
        shutil.copytree(whole, to, copy_function=os.link)
        victims = sorted(path for path in to.rglob("*") if path.is_file())
        victim = victims[rng.integers(len(victims))]
        content = victim.read_bytes()
        victim.unlink()
        if rng.random() < 0.02:
            return to
    else:
        victim, content = to, whole.read_bytes()
    if victim.suffix == ".json" and rng.random() < 0.7:
        content = mutated_json(content.decode(), steps).encode()
    elif victim.suffix == ".yaml" and rng.random() < 0.7:
        content = mutated_words(content.decode(), steps).encode("utf-8", "surrogatepass")
    else:
        content = mutated(content, steps)
    victim.write_bytes(content)
    return to


class HangError(BaseException):
    """Raised if something takes longer than allowed; a BaseException, so that nothing catches it by accident."""


def attempt(
    read: Callable[[], Any], use: Callable[[Any], None] | None, names: str = "", seconds: float = SLOWEST
) -> str:
    """Read something hostile, use what was read, and return the outcome.

    Args:
        read: Reads it, or refuses it with a ValueError or FileNotFoundError of ours.
        use: Uses what was read, and raises if that is wrong.
        names: What the message of a refusal must contain.
        seconds: The time limit for both.

    Returns:
        `fine`, `refused`, or what went wrong: the kind of error, where it arose, and its message.
    """
    before = signal.signal(signal.SIGALRM, _hang)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = _attempt(read, use, names)
    except HangError as error:
        return _fault(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if warned and found in ("fine", "refused"):
        first = warned[0]
        return f"{first.category.__name__} at {Path(first.filename).name}:{first.lineno}: {first.message}"
    return found


def _attempt(read: Callable[[], Any], use: Callable[[Any], None] | None, names: str) -> str:
    try:
        found = read()
    except (ValueError, FileNotFoundError) as error:
        sentence = str(error)
        if isinstance(error, (UnicodeError, json.JSONDecodeError)):
            return _fault(error)
        if names not in sentence:
            return f"no name in {_fault(error)}"
        return f"several lines in {_fault(error)}" if "\n" in sentence else "refused"
    except Exception as error:
        return _fault(error)
    try:
        if use is not None:
            use(found)
    except Exception as error:
        return f"use: {_fault(error)}"
    return "fine"


def _hang(*_: object) -> None:
    raise HangError("more than the seconds it may take")


def _fault(error: BaseException) -> str:
    """The kind of an error, the last line of this project that it passed, and its message."""
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if "weakspot" in Path(frame.filename).parts] or frames
    place = f"{Path(last[-1].filename).name}:{last[-1].lineno}" if last else "nowhere"
    return f"{type(error).__name__} at {place}: {error}"


class Cases(Protocol):
    """Hostile inputs of one format."""

    def outcome(self, seed: Sequence[int], steps: Sequence[int]) -> str:
        """The outcome of one input, as from `attempt`; without steps the input is undamaged."""


class FileCases:
    """Damaged files of a format.

    Args:
        form: The format.
        folder: An empty folder.
    """

    def __init__(self, form: Format, folder: Path) -> None:
        self.form, self.whole = form, form.make(folder)
        self.path = folder / f"damaged{''.join(self.whole.suffixes)}"

    def outcome(self, seed: Sequence[int], steps: Sequence[int]) -> str:
        path = damaged(self.whole, self.path, seed, steps) if steps else self.whole
        try:
            return attempt(lambda: self.form.read(path), self.form.use, str(path))
        finally:
            if steps:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def steps_of(seed: Sequence[int]) -> list[int]:
    """The seeds of one to three damages."""
    rng = np.random.default_rng([*seed, 1])
    return rng.integers(2**32, size=rng.integers(1, 4)).tolist()


def outcomes(cases: Cases, numbers: Iterable[int], seed: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the number of each input, which reproduces it, and its outcome."""
    sound = cases.outcome([seed, 0], [])
    assert sound == "fine", sound
    for number in numbers:
        yield number, cases.outcome([seed, number], steps_of([seed, number]))


def reduced(cases: Cases, seed: Sequence[int], what: str) -> list[int]:
    """The fewest of a case's steps that cause the same error at the same place."""
    steps = steps_of(seed)
    kind = what.partition(": ")[0]
    for count in range(1, len(steps)):
        for chosen in combinations(steps, count):
            if cases.outcome(seed, chosen).partition(": ")[0] == kind:
                return list(chosen)
    return steps
