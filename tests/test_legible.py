"""Texts of others on a terminal: nothing in them is obeyed, and what is written in any script stays."""

from __future__ import annotations

import logging
import os

import pytest

from weakspot.legible import LineFormatter, as_utf8, direction_isolated, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 5 %", "plain text, 5 %"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),  # clears the screen, renames the window
        ("\x9b31m", r"\x9b31m"),  # the same introducer in one character
        ("a\r\nb\tc\x00\x7f", r"a\r\nb\tc\x00\x7f"),
        ("\u202egpj.exe\u2066", r"\u202egpj.exe\u2066"),  # reads exe.jpg
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("\ud800", r"\ud800"),
        (os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg"),
        ("نمی‌خواهم 👩‍👩‍👧 שלום \u200f café 退款", "نمی‌خواهم 👩‍👩‍👧 שלום \u200f café 退款"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    shown.encode()


def test_a_name_does_not_turn_the_numbers_beside_it_around() -> None:
    assert direction_isolated("colour = red") == "colour = red"
    assert direction_isolated("\u202ered") == r"\u202ered"
    assert direction_isolated("צבע = 3") == "\u2068צבע = 3\u2069"


def test_as_utf8_changes_nothing_but_half_characters() -> None:
    assert as_utf8(os.fsdecode(b"caf\xe9\x1b\n.jpg")) == "caf\\xe9\x1b\n.jpg"
    assert as_utf8("\udc00 é") == r"\udc00 é"


def test_what_is_logged_is_printable_line_by_line() -> None:
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "read %s\nand %d more", ("\x1b[2J.png", 3), None)
    assert LineFormatter("%(message)s").format(record) == "read \\x1b[2J.png\nand 3 more"
    sweep = logging.LogRecord(
        "a", logging.INFO, "a.py", 1, "\t#0 : seed=1", (), None
    )  # as Hydra's launcher has it
    assert LineFormatter("%(message)s").format(sweep) == "    #0 : seed=1"
