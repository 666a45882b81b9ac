"""Values of the pages' forms; each is checked, and an error names the one that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import PurePath

from starlette.datastructures import FormData, UploadFile

from weakspot.legible import printable

_MAX_LENGTH = 100  # characters of a file's name that are shown


def parse_number(form: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """Return the number in a field of a form.

    Args:
        form: The form's values by field.
        name: The field.
        default: The number if the field is empty.
        low: The smallest number that is allowed.
        high: The largest number that is allowed.

    Raises:
        ValueError: If the value is not a number between the two.
    """
    text = form.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and low <= value <= high):
        raise ValueError(f"{name}={text[:_MAX_LENGTH]} is not a number between {low:g} and {high:g}")
    return value


def parse_whole_number(form: Mapping[str, str], name: str, default: int = 0) -> int:
    """Return the whole number in a field of a form, which must not be negative.

    Args:
        form: The form's values by field.
        name: The field.
        default: The number if the field is empty.

    Raises:
        ValueError: If the value is not such a number.
    """
    text = form.get(name, "").strip()
    if not text:
        return default
    if not (text.isdecimal() and len(text) < 16):
        raise ValueError(f"{name}={text[:_MAX_LENGTH]} is not a whole number")
    return int(text)


def uploaded_file(form: FormData, name: str) -> UploadFile:
    """Return the file in a field of a form.

    Raises:
        ValueError: If there is none, or it is empty.
    """
    file = form.get(name)
    if not isinstance(file, UploadFile) or not file.size:
        raise ValueError("No file was chosen, or it is empty: go back and choose one.")
    return file


def display_name(file: UploadFile) -> str:
    """Return an uploaded file's name as it can be shown; it is never used as a path."""
    name = PurePath((file.filename or "").replace("\\", "/")).name
    return printable(name)[:_MAX_LENGTH] or "file"
