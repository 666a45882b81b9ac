"""Shards of an unfinished record: whatever happens to one, its rows are inferred again and nothing else is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from samples import a_record
from weakspot import Predictions
from weakspot.predictions import atomic_files
from weakspot.predictions.atomic_files import checksum
from weakspot.predictions.shards import finished_rows, set_aside_damaged, write_shard
from weakspot.predictions.store import join

N = 40
FIELDS = ("embeddings", "outputs", "labels", "predictions", "correct", "losses")
THIRD = range(20, 30)


def add(folder, rows, rank=0, **others):
    record, rows = a_record(N), np.asarray(rows)
    write_shard(
        folder, rank, {"index": rows} | {name: getattr(record, name)[rows] for name in FIELDS} | others
    )


@pytest.fixture
def folder(tmp_path):
    """Forty rows in four shards, of which tests damage the third."""
    for start in range(0, N, 10):
        add(tmp_path / "record", range(start, start + 10))
    return tmp_path / "record"


def shards_of(folder):
    return sorted((folder / "shards").glob("*.safetensors"))


def other_bytes(change):
    def damage(path):
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return damage


def other_arrays(change):
    """Write a shard again with changed arrays and the right checksum."""

    def damage(path):
        arrays = load_file(path)
        change(arrays)
        path.unlink()
        written = path.with_name("draft")
        written.write_bytes(save(arrays))
        written.rename(path.with_name(f"rank0-000002-{checksum(written)}.safetensors"))

    return damage


def a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-50]),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a flipped bit": other_bytes(lambda content: content.__setitem__(-7, content[-7] ^ 4)),
    "a flipped bit of the header": other_bytes(lambda content: content.__setitem__(30, content[30] ^ 1)),
    "a longer tail": other_bytes(lambda content: content.extend(b"\0\0")),
    "another file": lambda path: path.write_text("<html>quota exceeded</html>"),
    "a folder": a_folder,
    "of an earlier version": lambda path: path.rename(path.with_name("rank0-000002.safetensors")),
    "without rows": other_arrays(lambda arrays: arrays.pop("index")),
    "without losses": other_arrays(lambda arrays: arrays.pop("losses")),
    "rows that are no numbers": other_arrays(lambda arrays: arrays.update(index=np.ones(10, np.float32))),
    "rows beyond the end": other_arrays(lambda arrays: arrays.update(index=np.arange(35, 45))),
    "rows below 0": other_arrays(lambda arrays: arrays.update(index=np.arange(-5, 5))),
    "columns of other lengths": other_arrays(lambda arrays: arrays.update(labels=arrays["labels"][:9])),
    "another width": other_arrays(
        lambda arrays: arrays.update(embeddings=arrays["embeddings"][:, :3].copy())
    ),
    "another type": other_arrays(lambda arrays: arrays.update(losses=arrays["losses"].astype(np.float64))),
    "a column less": other_arrays(lambda arrays: arrays.pop("correct")),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_shard_is_inferred_again(folder, kind, caplog):
    DAMAGES[kind](shards_of(folder)[2])
    np.testing.assert_array_equal(finished_rows(folder, N), [row for row in range(N) if row not in THIRD])
    with pytest.raises(ValueError, match=r"10 of 40 rows have not been inferred, the first of them 20; run"):
        join(folder, *context())
    with caplog.at_level("WARNING"):
        set_aside_damaged(folder, N)
    (sentence,) = caplog.messages
    assert "/shards/rank0-000002" in sentence
    assert sentence.endswith("it is set aside, and its rows are inferred again")
    set_aside_damaged(folder, N)
    assert len(caplog.messages) == 1  # once
    add(folder, THIRD)
    assert shards_of(folder)[-1].name.startswith("rank0-000004-")  # no number is used twice
    joined = join(folder, *context())
    for name in ("embeddings", "labels", "correct"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(a_record(N), name))
    assert sorted(path.name for path in folder.iterdir()) == [
        "arrays.safetensors",
        "manifest.json",
        "records.parquet",
    ]


def context():
    record = a_record(N)
    return record.ids, record.attributes, record.task, {}


def test_shards_in_an_earlier_format_give_way_to_new_ones(folder):
    """The newest shard decides the format, so a folder that an earlier version began can be finished."""
    half = a_record(N).embeddings.astype(np.float16)
    add(folder, range(10), embeddings=half[:10])
    np.testing.assert_array_equal(finished_rows(folder, N), np.arange(10))


def test_shard_numbers_continue_across_processes(tmp_path):
    """A new shard of one process is numbered after those of an earlier run with more processes."""
    for rank in (0, 1, 2):
        add(tmp_path, range(10), rank)
    (oldest,) = (tmp_path / "shards").glob("rank0-000000-*")
    oldest.unlink()
    add(tmp_path, range(10), 0)
    assert [path.name[:12] for path in shards_of(tmp_path)] == [
        "rank0-000003",
        "rank1-000001",
        "rank2-000002",
    ]


def test_a_shard_is_flushed_to_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: (events.append(Path(f"/proc/self/fd/{number}").resolve().name), fsync(number)),
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), replace(a, b)))
    add(tmp_path, range(10))
    (name,) = (path.name for path in shards_of(tmp_path))
    assert events == [f"{name}.part", "rename", "shards"]


def test_a_records_files_are_flushed_to_disk_before_they_get_their_names(folder, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: (events.append(Path(f"/proc/self/fd/{number}").resolve().name), fsync(number)),
    )
    monkeypatch.setattr(
        os, "replace", lambda a, b: (events.append(f"{Path(b).name} is there"), replace(a, b))
    )
    join(folder, *context())
    names = ("arrays.safetensors", "records.parquet", "manifest.json")
    assert events == [event for name in names for event in (f"{name}.part", f"{name} is there", "record")]


@pytest.mark.parametrize("name", ["arrays.safetensors", "records.parquet"])
def test_a_flipped_bit_in_a_complete_record_is_noticed(tmp_path, name):
    folder = a_record(N).save(tmp_path / "record")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{name} cannot be read: its content is not what was written; delete"
    ):
        Predictions.load(folder)


@pytest.mark.parametrize("name", ["arrays.safetensors", "records.parquet"])
def test_a_record_that_lacks_a_file_says_what_to_do(tmp_path, name):
    folder = a_record(N).save(tmp_path / "record")
    (folder / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"record lacks {name} of its predictions; delete .* infer\.py"
    ):
        Predictions.load(folder)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            errno.ENOSPC,
            "its disk is full (No space left on device); free some room there, or give predictions_dir=…",
        ),
        (
            errno.EROFS,
            "cannot be written (Read-only file system); give predictions_dir=…, or the right to write there",
        ),
        (errno.EACCES, "cannot be written (Permission denied); give predictions_dir=…"),
        (errno.ENOTDIR, "cannot be made because part of its path is a file; give predictions_dir=…"),
    ],
)
@pytest.mark.parametrize("what", ["a shard", "the record"])
def test_disk_errors_name_the_folder_and_the_next_step(folder, number, words, what, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    before = shards_of(folder)
    with monkeypatch.context() as patch:
        patch.setattr(atomic_files, "sync", refuse)
        with pytest.raises(OSError) as caught:
            add(folder, range(10)) if what == "a shard" else join(folder, *context())
    assert str(caught.value).startswith(f"{folder} ")
    assert words in str(caught.value)
    assert shards_of(folder) == before
    assert not list(folder.rglob("*.part"))  # the files that take up room are gone
    join(folder, *context())
