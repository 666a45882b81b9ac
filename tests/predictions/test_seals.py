"""Flipped bits in the files of records, slices and findings are noticed; those of earlier versions still open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mutations import FORMATS
from samples import some_slices, unsealed
from weakspot import Findings, Predictions, Slices
from weakspot.predictions.reading import DamagedError

SLICES = ("slices.json", "weights.parquet", "histories.parquet", "parameters.parquet")
FINDINGS = ("findings.json", "memberships.parquet", "map.parquet")
RECORD = ("manifest.json", "arrays.safetensors", "records.parquet")
KINDS = {SLICES: ("slices", Slices), FINDINGS: ("findings", Findings), RECORD: ("store", Predictions)}


def flipped(path: Path, at: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def places(size: int, many: int) -> list[int]:
    """Positions all over a file, including its whole start and end."""
    return sorted({*range(min(size, 300)), *range(0, size, max(1, size // many)), *range(size - 20, size)})


@pytest.mark.parametrize(("names", "name"), [(names, name) for names in KINDS for name in names])
def test_a_flipped_bit_is_noticed_and_its_file_named(tmp_path, names, name):
    """Flip one bit in each of some hundred bytes, the seal and the checksums among them.

    The key `seal` is left out: a changed key makes the record an unsealed one, in which only the arrays are checked.
    """
    made, kind = KINDS[names]
    folder = FORMATS[made].make(tmp_path)
    path = folder / name
    whole = path.read_bytes()
    kind.load(folder)
    word = range(2, 6) if name == "manifest.json" else ()
    for number, at in enumerate(at for at in places(len(whole), 200) if at not in word):
        flipped(path, at, number % 8)
        with pytest.raises(ValueError) as caught:
            kind.load(folder)
        said = str(caught.value)
        assert str(path) in said, at
        assert len(said.splitlines()) == 1
        path.write_bytes(whole)
    kind.load(folder)


@pytest.mark.parametrize("name", SLICES[1:])
def test_a_damaged_table_of_slices_says_what_to_do(tmp_path, name):
    folder = some_slices().save(tmp_path / "slices")
    flipped(folder / name, (folder / name).stat().st_size // 2, 0)
    expected = f"{folder / name} cannot be read: its content is not what was written; run discover.py to make it again"
    with pytest.raises(DamagedError, match=f"^{re.escape(expected)}$"):
        Slices.load(folder)


@pytest.mark.parametrize("name", ["weights.parquet", "memberships.parquet", "map.parquet"])
def test_an_intact_file_of_another_run_in_its_place_is_noticed(tmp_path, name):
    """As when two runs are mixed up by hand."""
    make, load = (
        (lambda to: some_slices().save(to / "slices"), Slices.load)
        if name == "weights.parquet"
        else (FORMATS["findings"].make, Findings.load)
    )
    folder = make(tmp_path)
    (folder / name).write_bytes((some_slices().save(tmp_path / "other") / "histories.parquet").read_bytes())
    with pytest.raises(DamagedError, match=rf"{name} cannot be read: its content is not what was written"):
        load(folder)


def test_files_without_a_seal_are_read(tmp_path):
    slices = FORMATS["slices"].make(tmp_path)
    whole = Slices.load(slices)
    unsealed(slices / "slices.json")
    assert Slices.load(slices).equals(whole)
    findings = FORMATS["findings"].make(tmp_path)
    said = Findings.load(findings)
    unsealed(findings / "findings.json")
    assert Findings.load(findings).equals(said)
