"""Files that are damaged or crafted: read right, or refused in a sentence that names them; never anything else."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mutations import FORMATS, outcomes
from samples import some_slices
from weakspot import Slices
from weakspot.predictions.reading import read_parquet


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_file_is_read_or_refused(name, tmp_path):
    found = dict(outcomes(name, tmp_path, many=200))
    assert {number: what for number, what in found.items() if what not in ("fine", "refused")} == {}
    assert "refused" in found.values()


def with_header(folder, **fields):
    path = folder / "slices.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def a_node(children):
    return {"id": 0, "size": 1, "wrong": 0, "accuracy": 1, "children": children}


def with_column(folder, file, name, values):
    table = pq.read_table(folder / file)
    at = table.column_names.index(name)
    pq.write_table(table.set_column(at, name, pa.array(values)), folder / file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda f: with_header(f, histories=2**31),
            "slices.json: key 'histories' cannot be read: it is 2147483648",
        ),
        (
            lambda f: with_header(f, histories=True),
            "slices.json: key 'histories' cannot be read: it is of the wrong",
        ),
        (lambda f: with_header(f, statistics=[1, 2]), "slices.json: key 'statistics' cannot be read"),
        (lambda f: with_header(f, slices=1, statistics=[{}]), "slices.json: key 'histories' cannot be read"),
        (
            lambda f: with_header(f, slices=3, statistics=[{}] * 3, histories=0),
            "weights.parquet cannot be read",
        ),
        (lambda f: with_header(f, provenance={"a": "\ud800"}), "slices.json cannot be read"),
        (
            lambda f: with_header(f, tree=[a_node([1, 2]), a_node([2]), a_node([])]),
            "slices.json: key 'tree' cannot be read: node 2 hangs below 2 nodes",
        ),
        (
            lambda f: with_header(f, tree=[a_node([]), a_node([])]),
            "node 1 hangs below 0 nodes instead of one",
        ),
        (
            lambda f: with_column(f, "parameters.parquet", "dtype", ["S100000000"] * 2),
            "parameters.parquet: key 'centers' cannot be read: it holds numbers, not S100000000",
        ),
        (
            lambda f: with_column(f, "parameters.parquet", "shape", [[-2, -4], [2, 4, 4]]),
            "parameters.parquet: key 'centers' cannot be read: it has 8 values, not those of shape (-2, -4)",
        ),
        (
            lambda f: with_column(f, "parameters.parquet", "group", [0, 1]),
            "parameters.parquet: key 'precisions' cannot be read: group 1",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "slice_2", [0.0] * 3 + [1.5] + [0.0] * 36),
            "weights.parquet: key 'slice_2' cannot be read: row 3 (id example-3) is 1.5, outside 0…1",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "slice_1", [None] + [0.0] * 39),
            "weights.parquet: key 'slice_1' cannot be read: row 0 (id example-0) is nan",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "id", ["a", None] * 20),
            "weights.parquet: key 'id' cannot be read: row 1 is empty",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "id", [str(i % 39) for i in range(40)]),
            "weights.parquet: key 'id' cannot be read: an id stands in two rows",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "id", [*map(str, range(39)), "x" * 10_000_000]),
            "weights.parquet: key 'id' cannot be read: row 39 is a text of 10000000 characters",
        ),
    ],
)
def test_slices_that_cannot_be(tmp_path, change, words):
    folder = some_slices().save(tmp_path / "slices")
    change(folder)
    with pytest.raises(ValueError) as caught:
        Slices.load(folder)
    assert str(folder) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "name", ["slices.json", "weights.parquet", "histories.parquet", "parameters.parquet"]
)
def test_slices_that_lack_a_file_say_what_to_do(tmp_path, name):
    folder = some_slices().save(tmp_path / "slices")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}.*; run discover\.py"):
        Slices.load(folder)


def test_histories_are_one_per_slice_or_none(tmp_path):
    with pytest.raises(ValueError, match="there are 1 histories of 2 slices"):
        replace(some_slices(), histories=[{}]).save(tmp_path / "slices")
    assert not (tmp_path / "slices").exists()


def test_a_table_that_announces_more_than_it_can_hold(tmp_path, monkeypatch):
    path, many = tmp_path / "a.parquet", 2_000_000
    pq.write_table(pa.table({"a": pa.nulls(many, pa.float64())}), path, max_rows_per_page=many)
    size = path.stat().st_size
    assert size < many / 1000
    assert len(read_parquet(path)) == many  # whatever its size, for it fits
    monkeypatch.setattr("weakspot.predictions.reading._CELLS", many - 1)
    with pytest.raises(
        ValueError, match=rf"a\.parquet cannot be read: it announces {many} values in {size} bytes"
    ):
        read_parquet(path)
