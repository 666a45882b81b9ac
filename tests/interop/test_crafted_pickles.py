"""Pickles made to hang, to fill memory or to read outside their data: every reader refuses them at once."""

from __future__ import annotations

import io
import pickle
import struct
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from weakspot.interop.spotlight_results import read_spotlights
from weakspot.predictions.spotlight_inference import read_fields, read_inference

MEBIBYTE = 1 << 20


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    content = value.to_bytes(16, "little", signed=True)
    return pickle.LONG1 + bytes([len(content)]) + content


def data(value: bytes) -> bytes:
    return pickle.BINBYTES + struct.pack("<I", len(value)) + value


def put(index: int) -> bytes:
    return pickle.LONG_BINPUT + struct.pack("<I", index)


def get(index: int) -> bytes:
    return pickle.LONG_BINGET + struct.pack("<I", index)


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return (
        pickle.GLOBAL
        + f"{module}\n{name}\n".encode()
        + pickle.MARK
        + b"".join(arguments)
        + pickle.TUPLE
        + pickle.REDUCE
    )


def several(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def fields(**values: bytes) -> bytes:
    """A complete pickle of these fields."""
    items = b"".join(text(name) + value for name, value in values.items())
    return pickle.PROTO + b"\x04" + pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS + pickle.STOP


def doubled(empty: bytes, wrap: bytes, levels: int = 60) -> bytes:
    """A container that holds a container twice, and so on: 2⁶⁰ values in a kilobyte."""
    made = empty + put(0)
    for level in range(levels):
        made += pickle.POP + pickle.MARK + get(level) + get(level) + wrap + put(level + 1)
    return made


LISTS = doubled(pickle.EMPTY_LIST, pickle.LIST)
TUPLES = doubled(pickle.EMPTY_TUPLE, pickle.TUPLE)
ITSELF = pickle.EMPTY_LIST + put(0) + get(0) + pickle.APPEND
F8 = call("numpy", "dtype", text("f8"), pickle.NEWFALSE, pickle.NEWTRUE)
F4 = call("numpy", "dtype", text("f4"), pickle.NEWFALSE, pickle.NEWTRUE)
MADE = call(
    "numpy.core.multiarray",
    "_reconstruct",
    pickle.GLOBAL + b"numpy\nndarray\n",
    several(number(0)),
    data(b"b"),
)


def array(shape: bytes, kind: bytes, content: bytes) -> bytes:
    return MADE + several(number(1), shape, kind, pickle.NEWFALSE, content) + pickle.BUILD


def storage(count: int, announced: int) -> bytes:
    """What torch writes for `count` floats, with the number `announced` in the header."""
    whole = io.BytesIO()
    torch.save(torch.zeros(count).untyped_storage(), whole, _use_new_zipfile_serialization=False)
    floats = io.BytesIO()
    torch.save(
        torch.storage.TypedStorage(
            wrap_storage=torch.zeros(count).untyped_storage(), dtype=torch.float32, _internal=True
        ),
        floats,
        _use_new_zipfile_serialization=False,
    )
    content = floats.getvalue()
    return content.replace(struct.pack("<q", count), struct.pack("<q", announced))


def tensor(offset: int, size: bytes, stride: bytes, count: int = 8, announced: int = 8) -> bytes:
    held = call("torch.storage", "_load_from_bytes", data(storage(count, announced)))
    hooks = call("collections", "OrderedDict")
    return call(
        "torch._utils", "_rebuild_tensor_v2", held, number(offset), size, stride, pickle.NEWFALSE, hooks
    )


def many(value: bytes, times: int) -> bytes:
    return value + put(0) + pickle.POP + pickle.MARK + get(0) * times + pickle.LIST


CRAFTED = {
    "lists that double": fields(embeddings=LISTS),
    "lists that double where nobody looks": fields(losses=data(b""), aux=LISTS),
    "a mapping by tuples that double": fields(aux=pickle.EMPTY_DICT + TUPLES + pickle.NONE + pickle.SETITEM),
    "a set of tuples that double": fields(aux=pickle.EMPTY_SET + pickle.MARK + TUPLES + pickle.ADDITEMS),
    "a frozen set of them": fields(aux=pickle.MARK + TUPLES + pickle.FROZENSET),
    "an ordered mapping by them": fields(
        aux=call("collections", "OrderedDict", pickle.MARK + several(TUPLES, pickle.NONE) + pickle.LIST)
    ),
    "a type named by lists that double": fields(embeddings=call("numpy", "dtype", LISTS)),
    "a shape of lists that double": fields(embeddings=array(LISTS, F8, data(b""))),
    "a list that holds itself": fields(embeddings=ITSELF),
    "a mapping that holds itself": pickle.EMPTY_DICT + put(0) + text("losses") + get(0) + pickle.SETITEM + pickle.STOP,
    "a result that holds itself": (
        pickle.GLOBAL + b"utils\nInferenceResults\n" + pickle.EMPTY_TUPLE + pickle.NEWOBJ + put(0)
        + pickle.EMPTY_DICT + text("losses") + get(0) + pickle.SETITEM + pickle.BUILD + pickle.STOP
    ),
    "lists in lists": fields(embeddings=pickle.MARK * 5_000 + pickle.LIST * 5_000),
    "a number of a million digits": fields(losses=pickle.LONG + b"9" * 1_000_000 + b"L\n"),
    "keys of one hash": fields(
        aux=pickle.EMPTY_DICT + pickle.MARK
        + b"".join(number(i * (2**61 - 1) * 2**30) + pickle.NONE for i in range(1, 2_000)) + pickle.SETITEMS
    ),
    "bytes": fields(losses=pickle.BINBYTES8 + struct.pack("<Q", 2**40)),
    "a text": fields(losses=pickle.BINUNICODE8 + struct.pack("<Q", 2**62)),
    "a frame": pickle.PROTO + b"\x04" + pickle.FRAME + struct.pack("<Q", 2**62) + pickle.NONE + pickle.STOP,
    "an array made of a number": fields(embeddings=array(several(number(2**33)), F8, number(2**36))),
    "a buffer made of a number": fields(
        embeddings=call("numpy.core.numeric", "_frombuffer", number(2**36), F8, several(number(2**33)), text("C"))
    ),
    "an array of another size": fields(embeddings=array(several(number(2**40)), F8, data(b"12345678"))),
    "an array of negative sizes": fields(embeddings=array(several(number(-1), number(-1)), F8, data(b"12345678"))),
    "texts of no characters": fields(
        embeddings=array(several(number(2**40)), call("numpy", "dtype", text("U0")), data(b""))
    ),
    "a tensor that repeats one number": fields(embeddings=tensor(0, several(number(2**36)), several(number(0)))),
    "a tensor that goes beyond its storage": fields(
        embeddings=tensor(4, several(number(4), number(2)), several(number(1), number(1_000_000_000)))
    ),
    "a tensor that starts before its storage": fields(embeddings=tensor(-8, several(number(8)), several(number(1)))),
    "a tensor that goes backwards": fields(embeddings=tensor(7, several(number(8)), several(number(-2)))),
    "a tensor whose storage announces more": fields(
        embeddings=tensor(0, several(number(8)), several(number(1)), announced=2**40)
    ),
    "many arrays of the same bytes": fields(
        embeddings=data(bytes(MEBIBYTE)) + put(0) + pickle.POP + pickle.MARK
        + array(several(number(MEBIBYTE // 8)), F8, get(0)) * 1000 + pickle.LIST
    ),
    "many times the same array": fields(
        embeddings=many(array(several(number(MEBIBYTE // 8)), F8, data(bytes(MEBIBYTE))), 2_000)
    ),
    "half a pair": fields(embeddings=text("x").replace(b"\x01\x00\x00\x00x", b"\x03\x00\x00\x00\xed\xa0\x80")),
    "no end": fields(losses=pickle.NONE)[:-1],
    "an empty stack": pickle.APPENDS + pickle.STOP,
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_pickle_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "crafted.pkl"
    path.write_bytes(CRAFTED[kind])
    for read in (read_fields, read_inference, read_spotlights):
        with bounded(), pytest.raises(ValueError, match=r"crafted\.pkl"):
            read(path)


@contextmanager
def bounded():
    """Bound the time and memory that this process takes in the block."""
    tracemalloc.start()
    start = time.process_time()
    try:
        yield
        taken, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < 20
    assert peak < 64 * MEBIBYTE


def test_well_formed_pickles_are_read(tmp_path):
    """This shows that the others are refused for their faults, not for how they are built."""
    path = tmp_path / "good.pkl"
    numbers = data(np.array([1.0, 2.0]).tobytes())
    path.write_bytes(
        fields(
            losses=array(several(number(2)), F8, numbers),
            embeddings=tensor(2, several(number(3)), several(number(2))),
        )
    )
    found = read_fields(path)
    np.testing.assert_array_equal(found["losses"], [1, 2])
    np.testing.assert_array_equal(found["embeddings"], [0, 0, 0])


def test_a_large_memo_index_is_read_in_little_memory(tmp_path):
    """Python's own reader allocates room for all smaller indices."""
    path = tmp_path / "memo.pkl"
    path.write_bytes(fields(losses=text("a") + put(2**32 - 1), labels=get(2**32 - 1)))
    with bounded():
        assert read_fields(path) == {"losses": "a", "labels": "a"}


@pytest.mark.parametrize(
    ("size", "stride", "offset"), [((4, 2), (2, 1), 0), ((2, 3), (1, 2), 1), ((8,), (1,), 0), ((), (), 5)]
)
def test_a_tensor_is_read_as_the_stated_view_of_its_storage(tmp_path, size, stride, offset):
    whole = torch.arange(8.0)
    path = tmp_path / "tensor.pkl"
    path.write_bytes(pickle.dumps({"embeddings": whole.as_strided(size, stride, offset)}))
    np.testing.assert_array_equal(read_fields(path)["embeddings"], whole.as_strided(size, stride, offset))


@pytest.mark.parametrize(
    "kind", ["bfloat16", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_tensors_of_every_type_are_read(tmp_path, kind):
    values = torch.tensor([0, 1, 1, 0, 1]).to(getattr(torch, kind))
    path = tmp_path / "tensor.pkl"
    path.write_bytes(pickle.dumps({"embeddings": values}))
    found = read_fields(path)["embeddings"]
    np.testing.assert_array_equal(found, [0, 1, 1, 0, 1])
    assert str(found.dtype) == ("float32" if kind == "bfloat16" else kind)


def test_a_shared_list_is_read(tmp_path):
    shared = [1.0, 2.0]
    path = tmp_path / "shared.pkl"
    path.write_bytes(pickle.dumps({"losses": shared, "aux": {"again": shared, (1, "two"): (shared, shared)}}))
    assert read_fields(path) == {
        "losses": shared,
        "aux": {"again": shared, "(1, 'two')": [shared, shared]},
    }


def test_a_name_with_a_line_break_is_refused_in_one_line(tmp_path):
    path = tmp_path / "name.pkl"
    path.write_bytes(fields(losses=text("os\u2028\x1b[2J") + text("system") + pickle.STACK_GLOBAL))
    with pytest.raises(ValueError, match="which no published result contains") as refusal:
        read_fields(path)
    assert len(str(refusal.value).splitlines()) == 1
    assert "\x1b" not in str(refusal.value)


def test_an_invalid_escape_is_read_without_a_warning(tmp_path):
    """Python 2 writes strings with escapes; a warning would be an error here."""
    path = tmp_path / "escape.pkl"
    path.write_bytes(fields(losses=pickle.STRING + b"'\\d'\n"))
    assert read_fields(path) == {"losses": "\\d"}


@pytest.mark.parametrize("name", ["unnormalized_weights", "loss_history"])
def test_a_signalling_nan_causes_no_warning(name, tmp_path):
    """NumPy warns when it casts a signalling NaN, but not a quiet one."""
    path = tmp_path / "nan.pkl"

    def pickle_with(bits):
        numbers = {"unnormalized_weights": [0, 0x3F800000]} | {name: [bits, 0x3F800000]}
        path.write_bytes(
            fields(
                **{
                    key: array(several(number(2)), F4, data(np.array(values, np.uint32).tobytes()))
                    for key, values in numbers.items()
                }
            )
        )
        try:
            return sorted(read_spotlights([path]).histories[0])
        except ValueError as error:
            return str(error)

    assert pickle_with(0x7F800001) == pickle_with(0x7FC00000)
