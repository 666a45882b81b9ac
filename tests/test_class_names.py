"""The order of classes: the same from run to run, whatever the order of labels."""

from __future__ import annotations

import pytest

from weakspot.class_names import class_names, is_number


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["dog", "cat", "dog"], ("cat", "dog")),
        (["10.0", "2.0"], ("2.0", "10.0")),
        (["3", "-2", "-10"], ("-10", "-2", "3")),
        (["10", "2", "many"], ("10", "2", "many")),
        ([], ()),
    ],
)
def test_names_are_sorted_and_numbers_by_value(labels: list[str], names: tuple[str, ...]) -> None:
    assert class_names(labels) == class_names(reversed(labels)) == names


def test_numbers_of_one_size_have_one_order() -> None:
    names = ["0" * zeros + "1" for zeros in range(6)]
    assert class_names(["10", *names]) == (*reversed(names), "10")


@pytest.mark.parametrize("text", ["0", "-1.5", "+.5", "2.", "1e3", "1E-07"])
def test_numbers_are_told(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1,5", " 1", "0x1", "1e9999", "one"])
def test_what_is_no_finite_number_in_decimal_notation_is_told(text: str) -> None:
    assert not is_number(text)
