"""Attributes of every Arrow type: read into a plain form, described, stored, and left out with a reason."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from weakspot import Predictions
from weakspot.explain.attributes import over_represented
from weakspot.predictions.attributes import MISSING, categorise, omitted_columns
from weakspot.predictions.plain_columns import plain_table

X = np.arange(6, dtype=np.float32).reshape(3, 2)
ONE = uuid.UUID(int=1)
DAY = dt.date(2024, 3, 1)


def storage(kind: pa.ExtensionType, values: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, values)


MOMENT = dt.datetime(1970, 1, 1)
SECOND, HOUR = dt.timedelta(seconds=1), dt.timedelta(hours=1)
COLUMNS = {
    "list": (pa.array([["a", "b"], None, []]), ["a, b", None, None]),
    "long list": (pa.array([list(range(22)), [1], None]), [", ".join(map(str, range(20))) + ", …", "1", None]),
    "list view": (pa.array([["a"], None, ["b"]], pa.list_view(pa.string())), ["a", None, "b"]),
    "fixed list": (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)), ["1, 2", None, "3, 4"]),
    "map": (pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())), ["k: 1", None, None]),
    "tensor": (
        storage(pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2]] * 3, pa.list_(pa.int32(), 2))),
        ["1, 2"] * 3,
    ),
    "union": (
        pa.UnionArray.from_dense(
            pa.array([0, 1, 0], pa.int8()), pa.array([0, 0, 1], pa.int32()), [pa.array([1, 2]), pa.array(["x"])]
        ),
        ["1", "x", "2"],
    ),
    "uuid": (pa.array([ONE.bytes, None, ONE.bytes], pa.uuid()), [str(ONE), None, str(ONE)]),
    "json": (storage(pa.json_(), pa.array(['{"a":1}', None, "2"])), ['{"a":1}', None, "2"]),
    "bool8": (storage(pa.bool8(), pa.array([0, 1, None], pa.int8())), [False, True, None]),
    "string view": (pa.array(["a", " b ", ""], pa.string_view()), ["a", "b", None]),
    "large string": (pa.array(["a", "\tb\n", " "], pa.large_string()), ["a", "b", None]),
    "binary": (pa.array(["ö".encode(), None, b"c "]), ["ö", None, "c"]),
    "binary view": (pa.array([b"a", None, b"c"], pa.binary_view()), ["a", None, "c"]),
    "fixed binary": (pa.array([b"ab", None, b"cd"], pa.binary(2)), ["ab", None, "cd"]),
    "interval": (pa.array([(1, 2, 3_000_000_000), None, (0, 0, 0)], pa.month_day_nano_interval()), None),
    "half": (pa.array(np.array([1, 2, 3], np.float16)), [1, 2, 3]),
    "decimal": (pa.array([Decimal("1.5"), None, Decimal(2)]), [1.5, None, 2]),
    "big decimal": (pa.array([Decimal("1.5"), None, Decimal(2)], pa.decimal256(50, 2)), [1.5, None, 2]),
    "nanoseconds": (pa.array([1_001, None, 3], pa.timestamp("ns")), [MOMENT + SECOND / 10**6, None, MOMENT]),
    "zoned": (pa.array([0, None, 1], pa.timestamp("s", "Europe/Paris")), [MOMENT + HOUR, None, MOMENT + HOUR + SECOND]),
    "zone unknown": (pa.array([0, None, 1], pa.timestamp("s", "Nowhere/City")), [MOMENT, None, MOMENT + SECOND]),
    "year 33658": (pa.array([0, None, 10**12], pa.timestamp("s")), [0, None, 10**18]),
    "year 31690708": (pa.array([0, None, 10**15], pa.timestamp("s")), [0, None, 10**15]),
    "date64": (pa.array([0, None, 86_400_000], pa.date64()), [dt.date(1970, 1, 1), None, dt.date(1970, 1, 2)]),
    "time": (pa.array([1_000, None, 5], pa.time64("ns")), [dt.time(0, 0, 0, 1), None, dt.time(0)]),
    "duration": (pa.array([1, None, 2], pa.duration("s")), [dt.timedelta(seconds=1), None, dt.timedelta(seconds=2)]),
    "dictionary": (pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["z", "a"])), ["z", "a", None]),
    "dictionary of views": (
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["z", "a"], pa.string_view())),
        ["z", "a", None],
    ),
    "ordered dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["z", "a"], pa.string_view()), ordered=True),
        ["z", "a", None],
    ),
    "run ends": (
        pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["x", "y"])), ["x", "x", "y"],
    ),
    "unsigned": (pa.array([2**64 - 1, None, 1], pa.uint64()), [2**64 - 1, None, 1]),
    "null": (pa.nulls(3), [None] * 3),
    "numbers but for a word": (pa.array(["1", "N/A", " 3"]), [1, None, 3]),
    "fractions but for a word": (pa.array(["1.5", "-", "3"]), [1.5, None, 3]),
    "numbers as texts": (pa.array(["1", "2", "3"]), ["1", "2", "3"]),
    "post codes": (pa.array(["01067", "n/a", "80331"]), ["01067", "n/a", "80331"]),
    "names and a word": (pa.array(["NA", "DE", "FR"]), ["NA", "DE", "FR"]),
    "dates as texts": (pa.array(["2024-03-01", "?", None]), [DAY, None, None]),
    "moments as texts": (pa.array(["1970-01-01 01:00", "1970-01-01T00:00:01"]), [MOMENT + HOUR, MOMENT + SECOND]),
    "zoned texts": (pa.array(["1970-01-01T03:00:00+02:00", "1970-01-01T00:00:00Z"]), [MOMENT + HOUR, MOMENT]),
    "times as texts": (pa.array(["10:00", "23:59:30", None]), [dt.time(10), dt.time(23, 59, 30), None]),
}  # fmt: skip


@pytest.mark.parametrize(("column", "values"), COLUMNS.values(), ids=COLUMNS)
def test_every_type_is_read_stored_and_read_again(column, values, tmp_path):
    values = ["P1M2DT3S", None, "P0M0DT0S"] if values is None else values
    p = Predictions.from_arrays(X[: len(values)], attributes={"a": column})
    assert p.attributes["a"].to_pylist() == values
    q = Predictions.load(p.save(tmp_path / "record"))
    assert q.attributes.equals(p.attributes)
    again, reasons = plain_table(q.attributes)
    assert again.equals(q.attributes)
    assert not reasons
    assert len(categorise(q.attributes)) + len(omitted_columns(q.attributes)) == 1
    empty, _ = plain_table(pa.table({"a": column}).slice(0, 0))
    assert empty.column_names == ["a"]


@pytest.mark.slow
def test_every_type_reaches_the_report(shell):
    n = 60
    three = {name: column for name, (column, values) in COLUMNS.items() if len(column) == 3}
    rows = pa.array(np.arange(n) % 3)
    attributes = {name: plain_table(pa.table({name: c}))[0][name].take(rows) for name, c in three.items()}
    x = RNG.normal(size=(n, 2))
    x[:10] += 5
    p = Predictions.from_arrays(x, losses=np.where(np.arange(n) < 10, 5.0, 1.0), attributes=attributes)
    p.save(shell.folder / "store")
    shell("discover", "predictions=store", "logger=none", "method.n_slices=1")
    page = shell.reports()[0].read_text()
    assert all(name in page for name in ("ordered dictionary", "zone unknown", "interval"))


def test_structs_become_one_column_per_field():
    column = pa.array([{"size": 1, "lens": {"kind": "wide "}}, None, {"size": 2, "lens": None}])
    p = Predictions.from_arrays(X, attributes={"camera": column})
    assert p.attributes.to_pydict() == {"camera.size": [1, None, 2], "camera.lens.kind": ["wide", None, None]}
    with pytest.raises(ValueError, match=r"two attributes 'camera\.size'"):
        Predictions.from_arrays(X, attributes={"camera": column, "camera.size": [1, 2, 3]})


def test_an_ordered_categorical_keeps_its_order():
    n = 90
    sizes = pa.DictionaryArray.from_arrays(
        np.arange(n) % 3, pa.array(["small", "medium", "large", "huge"]), ordered=True
    )
    p = Predictions.from_arrays(np.ones((n, 1)), attributes={"size": sizes})
    (column,) = categorise(p.attributes)
    assert column.values == ("small", "medium", "large")
    assert column.codes.tolist() == [0, 1, 2] * 30
    gaps = pa.DictionaryArray.from_arrays(
        pa.array([2, 0, None] * 3), pa.array(["small", "medium", "large"]), ordered=True
    )
    (column,) = categorise(pa.table({"size": gaps}))
    assert column.values == ("small", "large", MISSING)
    assert column.codes.tolist() == [1, 0, 2] * 3


N = 1000
MINUTES = np.datetime64("2024-01-01T00:00:00") + np.arange(5 * N) * np.timedelta64(60, "s")
RNG = np.random.default_rng(0)
FROM_2024 = np.datetime64("2024-01-01") + RNG.integers(0, 366, N).astype("timedelta64[D]")
IN_MAY = FROM_2024.astype("datetime64[M]") == np.datetime64("2024-05")


@pytest.mark.parametrize(
    ("column", "values", "named"),
    [
        (FROM_2024, 12, "2024-05"),
        (FROM_2024.astype("datetime64[us]"), 12, "2024-05"),
        (
            FROM_2024.astype("datetime64[us]") + RNG.integers(0, 86_400, N).astype("timedelta64[s]"),
            12,
            "2024-05",
        ),
        (FROM_2024.astype(str), 12, "2024-05"),
        (FROM_2024.astype(np.int64), 5, "19801 to 19877"),
        (FROM_2024.astype(np.int64)[:, None] @ [1] + RNG.integers(0, 2, N) * 0.25, 5, None),
    ],
)
def test_a_failure_planted_in_a_month_is_found(column, values, named):
    table, _ = plain_table(pa.table({"day": column}))
    (found,) = categorise(table)
    assert len(found.values) == values
    best = over_represented(IN_MAY.astype(float), table)[0]
    assert best.attribute == "day"
    assert best.share_inside > 0.9
    assert named is None or best.value == named


@pytest.mark.parametrize(
    ("column", "first", "last", "values"),
    [
        (np.datetime64("2024-01-01") + np.arange(N) % 15, "2024-01-01", "2024-01-15", 15),
        (
            np.datetime64("2024-01-01") + np.arange(N) % 70,
            "2024-01-01 to 2024-01-07",
            "2024-03-04 to 2024-03-10",
            10,
        ),
        (np.datetime64("2021-01-01") + np.arange(N), "2021-01 to 2021-03", "2023-07 to 2023-09", 11),
        (np.datetime64("1900-01-01") + np.arange(N) * 40, "1900 to 1909", "2000 to 2009", 11),
        (
            MINUTES[:N],
            "2024-01-01 00:00 to 00:59",
            "2024-01-01 16:00 to 16:59",
            17,
        ),
        (
            MINUTES[::5],
            "2024-01-01 00:00 to 05:59",
            "2024-01-04 06:00 to 11:59",
            14,
        ),
        (pa.array(np.arange(N) * 60 * 10**6, pa.time64("us")), "00:00 to 00:59", "16:00 to 16:59", 17),
        (pa.array(np.arange(N) * 10**6, pa.time64("us")), "00:00", "00:16", 17),
        (pa.array(np.arange(N) * 10**6, pa.duration("us")), "up to 3.33 min", "over 13.32 min", 5),
        (pa.array(np.arange(N) % 3, pa.duration("s")), "0:00:00", "0:00:02", 3),
    ],
)
def test_times_are_binned_by_readable_units(column, first, last, values):
    table, _ = plain_table(pa.table({"when": column}))
    (found,) = categorise(table)
    assert len(found.values) == values
    assert sorted(set(found.codes.tolist())) == list(range(values))
    assert (found.values[0], found.values[-1]) == (first, last)


@pytest.mark.parametrize(
    ("name", "numbers", "reason"),
    [
        ("price", RNG.permutation(np.r_[np.arange(600) * 7, RNG.integers(0, 600, 400) * 7]), None),
        ("bytes", RNG.integers(0, 10**8, N), None),
        ("row number", RNG.choice(5 * N, N, replace=False), "it numbers the rows"),
        ("visit", np.arange(N), "it numbers the rows"),
        ("patient_id", RNG.integers(0, 10**6, N), "as its name says"),
        ("photoId", RNG.integers(0, 10**6, N), "as its name says"),
        ("humid", RNG.integers(0, 10**6, N), None),
        ("file", [f"{row}.png" for row in range(N)], "a different value in more than half of the rows"),
        ("camera", ["a"] * N, "it has one value only"),
        ("nothing", pa.nulls(N, pa.string()), "it has no values"),
        ("nested", [[row % 3] for row in range(N)], "it holds lists or records"),
        ("digit", np.arange(N) % 10, "it has more than 8 values"),
    ],
)
def test_omitted_columns_have_a_reason(name, numbers, reason):
    table = pa.table({name: numbers, "kept": ["a", "b"] * (N // 2)})
    kept = [column.name for column in categorise(table, max_values=8)]
    if reason is None:
        assert kept == [name, "kept"]
        assert omitted_columns(table, max_values=8) == []
    else:
        assert kept == ["kept"]
        ((left, why),) = omitted_columns(table, max_values=8)
        assert left == name
        assert reason in why
