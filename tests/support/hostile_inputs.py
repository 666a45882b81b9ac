"""Every kind of hostile input, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from configuration_files import CONFIGURATIONS
from damaged_data import DATA
from hostile_requests import RequestCases
from hostile_words import WordCases
from mutations import FORMATS, Cases, FileCases

FILES = FORMATS | DATA | CONFIGURATIONS
"""Every format of files."""

CASES: dict[str, Callable[[Path], Cases]] = {
    **{name: partial(FileCases, form) for name, form in FILES.items()},
    "requests to the explorer": RequestCases,
    "words of the command line": WordCases,
}
"""Functions that make the cases of each kind in an empty folder."""
