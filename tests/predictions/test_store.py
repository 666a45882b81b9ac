"""The stores on disk: equal when loaded back, readable by others, never half written."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from paths import ROOT
from samples import unsealed
from weakspot import Predictions, Slices
from weakspot.predictions.atomic_files import atomic_folder, remove_drafts
from weakspot.predictions.safetensors_maps import create_arrays, open_arrays
from weakspot.predictions.shards import finished_rows, write_shard
from weakspot.predictions.store import join
from weakspot.slices import ClusterNode
from weakspot.slices.json_format import tree_to_json
from weakspot.slices.statistics import ConfusionCell, describe
from weakspot.tasks import Classification

N = 50


@pytest.fixture
def record():
    rng = np.random.default_rng(1)
    return Predictions.from_arrays(
        rng.normal(size=(N, 4)).astype(np.float32),
        outputs=rng.normal(size=(N, 3)).astype(np.float32),
        labels=rng.integers(0, 3, N),
        counts=rng.integers(1, 4, N),
        ids=[f"example-{i}" for i in range(N)],
        attributes={"colour": np.where(np.arange(N) % 2, "red", "green"), "age": np.arange(N)},
    )


def same(a, b):
    for name in ("ids", "embeddings", "outputs", "labels", "predictions", "correct", "losses", "counts"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            np.testing.assert_array_equal(x, y, err_msg=name)
    assert a.attributes.to_pydict() == b.attributes.to_pydict()
    assert a.task == b.task


def test_a_record_comes_back_equal_and_mapped(record, tmp_path):
    loaded = Predictions.load(record.save(tmp_path / "record"))
    same(record, loaded)
    assert isinstance(loaded.embeddings.base, np.memmap)


def test_others_can_read_the_files(record, tmp_path):
    folder = record.save(tmp_path / "record")
    np.testing.assert_array_equal(load_file(folder / "arrays.safetensors")["embeddings"], record.embeddings)
    assert pq.read_table(folder / "records.parquet").column_names == [
        "id", "label", "prediction", "correct", "loss", "count", "colour", "age",
    ]  # fmt: skip


def test_multilabel_labels_come_back_in_their_shape(tmp_path):
    rng = np.random.default_rng(0)
    p = Predictions.from_arrays(
        rng.normal(size=(7, 2)), labels=rng.integers(0, 2, (7, 3)), outputs=rng.normal(size=(7, 3))
    )
    same(p, Predictions.load(p.save(tmp_path / "record")))


def shards(record, folder, rows, rank=0):
    names = ("embeddings", "outputs", "labels", "predictions", "correct", "losses")
    write_shard(folder, rank, {"index": rows} | {name: getattr(record, name)[rows] for name in names})


def test_shards_of_several_processes_join_in_row_order(record, tmp_path):
    folder = tmp_path / "record"
    for rank in (0, 1):
        rows = np.arange(rank, N, 2)[::-1]
        shards(record, folder, rows[:10], rank)
        shards(record, folder, rows[10:], rank)
    joined = join(folder, record.ids, record.attributes, record.task, {"dataset": "test"})
    np.testing.assert_array_equal(joined.embeddings, record.embeddings)
    np.testing.assert_array_equal(joined.losses, record.losses)
    assert joined.manifest["dataset"] == "test"
    assert sorted(path.name for path in folder.iterdir()) == [
        "arrays.safetensors", "manifest.json", "records.parquet",
    ]  # fmt: skip


def test_missing_rows_are_refused(record, tmp_path):
    shards(record, tmp_path / "record", np.arange(1, 49))
    with pytest.raises(ValueError, match=r"2 of 50 rows .* the first of them 0; run the same command again"):
        join(tmp_path / "record", record.ids, record.attributes, record.task, {})
    assert not (tmp_path / "record" / "manifest.json").exists()


def test_rows_inferred_twice_are_joined_once(record, tmp_path):
    """Every rank of a group inferred everything, and one of them some rows twice."""
    shards(record, tmp_path / "record", np.arange(N))
    shards(record, tmp_path / "record", np.array([*range(N), 3]), rank=1)
    joined = join(tmp_path / "record", record.ids, record.attributes, record.task, {})
    np.testing.assert_array_equal(joined.embeddings, record.embeddings)
    np.testing.assert_array_equal(joined.labels, record.labels)


def test_finished_rows_are_those_of_whole_shards(record, tmp_path):
    shards(record, tmp_path / "record", np.array([5, 3]))
    (tmp_path / "record" / "shards" / "rank0.part").write_bytes(b"cut short")
    np.testing.assert_array_equal(finished_rows(tmp_path / "record", N), [3, 5])


def test_a_folder_without_a_manifest_is_not_a_record(record, tmp_path):
    folder = record.save(tmp_path / "record")
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"run infer\.py"):
        Predictions.load(folder)


def test_mapped_arrays_agree_with_the_library(tmp_path):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.array([True, False]),
        "empty": np.zeros((0, 4), np.float32),
    }
    save_file(arrays, tmp_path / "theirs.safetensors")
    for name, array in open_arrays(tmp_path / "theirs.safetensors").items():
        np.testing.assert_array_equal(array, arrays[name])
    ours = create_arrays(
        tmp_path / "ours.safetensors", {name: (a.dtype, a.shape) for name, a in arrays.items()}
    )
    for name in ("a", "b"):
        ours[name][:] = arrays[name]
        ours[name].flush()
    for name, array in load_file(tmp_path / "ours.safetensors").items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize("cut", [4, 30, 200])
def test_a_damaged_file_is_named(tmp_path, cut):
    path = tmp_path / "a.safetensors"
    save_file({"a": np.arange(100.0)}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"a\.safetensors.* cannot be read: "):
        open_arrays(path)


def test_a_crafted_header_cannot_reach_outside_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    header = json.dumps({"a": {"dtype": "F64", "shape": [10**6], "data_offsets": [0, 8 * 10**6]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(80))
    with pytest.raises(ValueError, match="does not fit the file"):
        open_arrays(path)


def test_slices_come_back_equal(record, tmp_path):
    weights = np.random.default_rng(2).random((2, N))
    slices = Slices(
        "spotlight",
        record.ids,
        weights,
        describe(weights, record),
        histories=[{"objective": np.linspace(0, 1, 7), "size": np.arange(7.0)}] * 2,
        parameters={"centers": weights[:, :4], "precisions": np.ones((2, 4, 4))},
        provenance={"settings": {"n_slices": 2}, "predictions": {}},
    )
    loaded = Slices.load(slices.save(tmp_path / "slices"))
    assert loaded.equals(slices)
    assert Slices.load(loaded.save(tmp_path / "slices")).equals(slices)  # over an earlier result
    assert not loaded.equals(Slices("spotlight", record.ids, weights * 0.5, slices.statistics))


def test_statistics_are_weighted_means(record):
    inside = record.attributes["colour"].to_numpy(zero_copy_only=False) == "red"
    (statistics,) = describe(inside[None].astype(float), record)
    counts = record.counts
    assert statistics.size == counts[inside].sum()
    assert statistics.accuracy_inside == pytest.approx(
        np.average(record.correct[inside], weights=counts[inside])
    )
    assert statistics.loss_outside == pytest.approx(
        np.average(record.losses[~inside], weights=counts[~inside])
    )
    assert sum(cell.weight for cell in statistics.confusion) == pytest.approx(statistics.size)


def test_confusion_of_many_classes_needs_no_square_matrix():
    classes = tuple(map(str, range(199_001)))
    labels = np.arange(0, 199_001, 1000)
    p = Predictions.from_arrays(
        np.ones((len(labels), 1)), labels=labels, predictions=labels[::-1], task=Classification(classes)
    )
    weights = np.zeros((1, len(p)))
    weights[0, [3, 7]] = 0.25, 0.5
    (statistics,) = describe(weights, p)
    assert statistics.confusion == (
        ConfusionCell("7000", "192000", 0.5),
        ConfusionCell("3000", "196000", 0.25),
    )


def found(record, k=1, **fields):
    weights = np.repeat(np.linspace(0, 1, N)[None], k, axis=0)
    return Slices("udis", record.ids, weights, describe(weights, record), **fields)


@pytest.fixture(params=["predictions", "slices"])
def kind(request, record):
    """An object to save, its class and its manifest."""
    if request.param == "predictions":
        return record, Predictions, "manifest.json"
    return found(record), Slices, "slices.json"


def test_a_folder_with_other_content_is_not_replaced(kind, tmp_path):
    saved, _, manifest = kind
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "file").write_text("no folder")
    for name in ("thesis", "file"):
        with pytest.raises(FileExistsError, match=f"{name} already exists and has no {manifest}"):
            saved.save(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["chapter.tex", "file", "thesis"]
    (tmp_path / "empty").mkdir()
    saved.save(tmp_path / "empty")


def test_the_file_that_a_folder_lacks_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    said = "already exists and has no b written by weakspot"
    with pytest.raises(FileExistsError, match=said), atomic_folder(tmp_path, required_files=("a", "b")):
        pass


def test_a_save_that_fails_leaves_what_was_there(kind, tmp_path, monkeypatch):
    saved, cls, _ = kind
    neighbour = tmp_path / "r.part"
    neighbour.mkdir()
    saved.save(tmp_path / "r")
    before = {path: path.read_bytes() for path in (tmp_path / "r").iterdir()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    rename = Path.rename
    for name, broken in (
        ("write_text", full),
        ("rename", lambda path, to: full() if path.name == "new" else rename(path, to)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, broken)
            with pytest.raises(OSError, match="No space"):
                saved.save(tmp_path / "r")
        assert {path: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r.part"]
    cls.load(tmp_path / "r")


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests/support")
from pathlib import Path
from samples import a_record, some_slices

kind, folder, moment = sys.argv[1:]
saved = {"predictions": a_record, "slices": some_slices}[kind]()
rename = Path.rename

def deadly(path, to):
    if moment == "before" or path.name == "new":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, to)

Path.rename = deadly
saved.save(folder)
"""


@pytest.mark.parametrize("moment", ["before", "between"])
def test_the_drafts_of_a_killed_save_are_removed(kind, tmp_path, moment):
    """Killed before its first renaming or between the two: in both cases the earlier result is restored."""
    saved, cls, manifest = kind
    folder = saved.save(tmp_path / "r")
    before = (folder / manifest).read_bytes()
    word = "predictions" if cls is Predictions else "slices"
    killed = subprocess.run([sys.executable, "-c", KILLED, word, str(folder), moment], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    (draft,) = tmp_path.glob(".r-*")
    assert folder.exists() == (moment == "before")
    (tmp_path / ".r-notes").mkdir()
    (tmp_path / ".r-notes" / "mine.txt").write_text("not a draft")
    remove_drafts([tmp_path], "r")
    assert not draft.exists()
    assert (folder / manifest).read_bytes() == before
    saved.save(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".r-notes", "r"]


def test_the_draft_of_a_running_process_is_kept(tmp_path):
    with atomic_folder(tmp_path / "r", required_files=("a",)) as draft:
        (draft / "a").write_text("mine")
        with atomic_folder(tmp_path / "r", required_files=("a",)) as other:
            (other / "a").write_text("theirs")
        assert (tmp_path / "r" / "a").read_text() == "theirs"
    assert (tmp_path / "r" / "a").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_disk_errors_are_reported_in_one_sentence(kind, tmp_path, number, monkeypatch):
    saved, _, _ = kind

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pq, "write_table", refuse)
    with pytest.raises(
        OSError, match=rf"^{tmp_path / 'r'} cannot be written.*{os.strerror(number)}.*; .*another folder"
    ):
        saved.save(tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": FORMAT}', "[" * 200_000, "null", "\x00", "{"])
def test_a_damaged_manifest_is_named(kind, tmp_path, text):
    saved, cls, manifest = kind
    folder = saved.save(tmp_path / "r")
    made = json.loads((folder / manifest).read_text())
    (folder / manifest).write_text(text.replace("FORMAT", str(made["format"])))
    with pytest.raises(ValueError, match=manifest.replace(".", r"\.")) as caught:
        cls.load(folder)
    assert len(str(caught.value)) < 500


def test_a_damaged_table_is_named(kind, tmp_path):
    saved, cls, _ = kind
    folder = saved.save(tmp_path / "r")
    table = next(path for path in folder.iterdir() if path.name in ("records.parquet", "weights.parquet"))
    table.write_bytes(table.read_bytes()[:200])
    with pytest.raises(ValueError, match=table.name):
        cls.load(folder)


def test_a_deeply_nested_header_is_refused(tmp_path):
    header = b"[" * 200_000
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be read: "):
        open_arrays(tmp_path / "a.safetensors")


def test_disk_space_is_allocated_before_arrays_are_mapped(tmp_path, monkeypatch):
    shapes = {"a": (np.dtype(np.float32), (1000, 300))}
    create_arrays(tmp_path / "a", shapes)
    assert (tmp_path / "a").stat().st_blocks * 512 >= 1_200_000

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        create_arrays(tmp_path / "b", shapes)
    assert not (tmp_path / "b").exists()


def chain(last, levels=4_000):
    """A tree of many levels, with a leaf to the right at each."""
    tree = ClusterNode(0, last, 0.0, 1.0, clusters=(0,), members=(1, 2))
    for level in range(1, levels):
        right = ClusterNode(-level, 1.0, 1.0, 0.0, clusters=(level,), members=(0,), wrong_members=(0,))
        tree = ClusterNode(level, last, 0.0, 1.0, children=(tree, right))
    return tree


def test_a_deep_tree_comes_back_as_it_was(record, tmp_path):
    slices = found(record, tree=chain(1.0))
    assert "children" not in repr(slices.tree)
    loaded = Slices.load(slices.save(tmp_path / "slices"))
    assert loaded.equals(slices)
    assert not loaded.equals(found(record, tree=chain(2.0)))
    ours, theirs = list(loaded.tree.walk()), list(slices.tree.walk())
    assert [node.id for node in ours] == [*range(3_999, -1, -1), *range(-1, -4_000, -1)]
    for mine, other in zip(ours, theirs, strict=True):
        assert replace(mine, children=()).__dict__ == replace(other, children=()).__dict__
        assert [child.id for child in mine.children] == [child.id for child in other.children]
        assert mine.leaf == (mine.id <= 0)


@pytest.mark.parametrize("copied", [lambda tree: pickle.loads(pickle.dumps(tree)), deepcopy])  # noqa: S301
def test_a_deep_tree_is_pickled_and_copied(copied):
    tree = chain(1.0)
    back = copied(tree)
    assert back is not tree
    assert tree_to_json(back) == tree_to_json(tree)


@pytest.mark.parametrize(
    ("children", "words"),
    [
        ([0], "node 0 has the child 0, which is not a later node"),
        ([9], "node 0 has the child 9, which is not a later node"),
        ([1, 1], "node 1 has 2 parents instead of one"),
        ([], "node 1 has 0 parents instead of one"),
        ("ab", r"0\.children: Input should be a valid "),
        (3, r"0\.children: Input should be a valid "),
        ([True], r"0\.children\.0: Input should be a valid integer"),
    ],
)
def test_an_invalid_tree_is_refused(record, tmp_path, children, words):
    folder = found(record, tree=chain(1.0, levels=2)).save(tmp_path / "slices")
    path = folder / "slices.json"
    header = json.loads(path.read_text())
    assert [node.id for node in Slices.load(folder).tree.walk()] == [1, 0, -1]
    header["tree"][0]["children"] = children
    unsealed(path, tree=header["tree"])
    with pytest.raises(ValueError, match=rf"slices\.json: key 'tree' cannot be read: {words}"):
        Slices.load(folder)


def test_ids_with_a_null_character_come_back(tmp_path):
    """NumPy's strings, given to Arrow as they are, would end there and no longer be unique."""
    p = Predictions.from_arrays(np.eye(3), ids=["a\0b", "a\0c", "a"])
    slices = Slices("spotlight", p.ids, np.eye(3), describe(np.eye(3), p))
    assert Slices.load(slices.save(tmp_path / "slices")).ids.tolist() == p.ids.tolist()
    assert Predictions.load(p.save(tmp_path / "predictions")).ids.tolist() == p.ids.tolist()


def test_empty_histories_and_paths_come_back(record, tmp_path):
    histories = [{}, {"loss": np.array([1.0, np.nan])}, {}]
    slices = found(record, k=3, histories=histories, provenance={"source": Path("a/b.npz")})
    loaded = Slices.load(slices.save(tmp_path / "slices"))
    assert [list(history) for history in loaded.histories] == [[], ["loss"], []]
    assert loaded.provenance == {"source": str(Path("a/b.npz"))}
    assert loaded.equals(slices)
