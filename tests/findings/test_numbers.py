"""Numbers are formatted for readers."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weakspot.findings import numbers


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.percent(0.119), "12 %"),
        (numbers.percent(0), "0 %"),
        (numbers.percent(0.0004), "< 0.1 %"),
        (numbers.percent(0.004), "0.4 %"),
        (numbers.percent(0.9996), "> 99 %"),
        (numbers.percent(0.0096), "1 %"),
        (numbers.percent(1), "100 %"),
        (numbers.percent(None), "–"),
        (numbers.count(10954), "10 954"),
        (numbers.count(23.4), "23"),
        (numbers.examples(1), "1 example"),
        (numbers.percent_to_tenth(0.9997), "> 99.9 %"),
        (numbers.percent_to_tenth(0.0003), "< 0.1 %"),
        (numbers.percent_to_tenth(1.0), "100 %"),
        (numbers.examples(1.0), "1 example"),
        (numbers.examples(0), "0 examples"),
        (numbers.examples(1.5), "1.5 examples"),
        (numbers.examples(1.02), "1 example"),
        (numbers.examples(0.98), "1 example"),
        (numbers.examples(1, "held-out"), "1 held-out example"),
        (numbers.examples(12345, "held-out"), "12 345 held-out examples"),
        (numbers.extent(12.0, 12), "12 examples"),
        (numbers.extent(1.0, 1), "1 example"),
        (numbers.extent(0, 0), "0 examples"),
        (numbers.extent(12.3, 500), "12 examples"),
        (numbers.extent(9.96, 500), "10 examples"),
        (numbers.extent(1.02, 500), "500 examples of weight 1 in all"),
        (numbers.extent(0.9, 1), "1 example of weight 0.9"),
        (numbers.count(2.25), "2.2"),
        (numbers.decimal(1.8349), "1.83"),
        (numbers.decimal(-0.00421), "−0.00421"),
        (numbers.decimal(12345.6), "12 300"),
        (numbers.decimal(3e-9), "3.00e−09"),
        (numbers.decimal(float("nan")), "–"),
        (numbers.decimal(0.00014), "0.000140"),
        (numbers.decimal(0.00006), "6.00e−05"),
        (numbers.decimal(9.996), "10.0"),
        (numbers.decimal(-99.96), "−100"),
        (numbers.decimal(9_999_600), "1.00e+07"),
        (numbers.format_value(-3), "−3"),
        (numbers.format_value(-3.0), "−3"),
        (numbers.format_value(20190131.0), "20190131"),
        (numbers.format_value(-1e300), "−1e+300"),
        (numbers.format_value("a-b"), "a-b"),
        (numbers.signed(-0.0096, True), "−1"),
        (numbers.signed(float("nan"), True), "–"),
        (numbers.signed(float("nan"), False), "–"),
        (numbers.probability(0.03), "= 0.030"),
        (numbers.format_lift(9.96), "10×"),
        (numbers.format_lift(3.764), "3.8×"),
        (numbers.format_lift(41.9), "42×"),
        (numbers.format_lift(float("inf")), "only here"),
    ],
)
def test_numbers_are_formatted_for_readers(written, expected):
    assert written.replace(numbers.THIN, " ") == expected


@settings(derandomize=True)
@given(exponent=st.floats(-8, 8))
def test_a_decimal_has_three_significant_digits(exponent: float) -> None:
    value = 10**exponent
    read = numbers.decimal(value).replace(numbers.THIN, "").replace("−", "-")
    assert float(read) == float(f"{value:.3g}")
    assert len(Decimal(read).as_tuple().digits) == 3 or abs(value) > 999


@pytest.mark.parametrize("one_more", [math.inf, -math.inf])
def test_a_rounding_error_is_not_shown_as_an_error_of_the_model(one_more: float) -> None:
    nearly = math.nextafter(1.0, one_more)
    assert numbers.percent(nearly) == numbers.percent_to_tenth(nearly) == numbers.percent(1)
    assert numbers.percent_to_tenth(math.nextafter(0.0, one_more)) == numbers.percent(0)
