"""What a page's form says: every value checked, and a sentence where it is none."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import PurePath

from starlette.datastructures import FormData, UploadFile

from weakspot.legible import printable

_LONGEST = 100  # characters of a file's name that are shown


def number(words: Mapping[str, str], name: str, otherwise: float, low: float, high: float) -> float:
    """A number that a form names.

    Args:
        words: Of the form.
        name: Of the field.
        otherwise: Where it is empty.
        low, high: What it must lie between.

    Raises:
        ValueError: Where it is none, or lies beyond.
    """
    said = words.get(name, "").strip()
    try:
        value = float(said) if said else otherwise
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and low <= value <= high):
        raise ValueError(f"{name}={said[:_LONGEST]} is no number between {low:g} and {high:g}")
    return value


def whole(words: Mapping[str, str], name: str, otherwise: int = 0) -> int:
    """A whole number that is not negative."""
    said = words.get(name, "").strip()
    if not said:
        return otherwise
    if not (said.isdecimal() and len(said) < 16):
        raise ValueError(f"{name}={said[:_LONGEST]} is no whole number")
    return int(said)


def uploaded(form: FormData, name: str) -> UploadFile:
    """The file that a form brings.

    Raises:
        ValueError: Where it brings none.
    """
    file = form.get(name)
    if not isinstance(file, UploadFile) or not file.size:
        raise ValueError("No file was chosen, or it is empty: go back and choose one.")
    return file


def name_of(file: UploadFile) -> str:
    """What an uploaded file is called, as it can be shown; never a path that anything is written to."""
    name = PurePath((file.filename or "").replace("\\", "/")).name
    return printable(name)[:_LONGEST] or "file"
