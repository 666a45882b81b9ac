"""Formats numbers for readers: two or three significant digits, grouped thousands, no false precision."""

from __future__ import annotations

import math

from weakspot.legible import LONGEST_VALUE, shortened

THIN = "\u202f"
"""A narrow no-break space, which groups thousands and separates a number from its percent sign."""
_NONE = "–"
_TEN = 9.95
"""From here on, a number rounded to a tenth would be 10.0, so it is shown as a whole number."""
_EXACT = 12
"""Decimals of a share that matter: a mean of ones may differ from one by a rounding error."""


def count(value: float | None) -> str:
    """Format a number of examples: `23`, `10 954`; below ten a fraction is rounded to a tenth, and never becomes 0."""
    if value is None or not math.isfinite(value):
        return _NONE
    if 0 < value < 0.05:
        return f"<{THIN}0.1"
    if abs(value) < _TEN and value != round(value):
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:,.0f}".replace(",", THIN)


def examples(n: float | None, which: str = "") -> str:
    """Format a number of examples with their noun, and a word between: `1 example`, `10 954 held-out examples`."""
    shown = count(n)
    return f"{shown} {f'{which} ' if which else ''}{'example' if shown == '1' else 'examples'}"


def counts_examples(size: float) -> bool:
    """Return whether weights that add up to `size` are shown as a number of examples: fractions below ten are not."""
    return size >= _TEN or size == round(size)


def extent(size: float, members: int) -> str:
    """Format how many examples a group holds, whose weights add up to `size`: `12 examples`.

    A fraction below ten is shown with the number of examples that have any weight: `40 examples of weight 0.4 in all`.
    """
    if counts_examples(size):
        return examples(size)
    return f"{examples(members)} of weight {count(size)}{'' if members == 1 else ' in all'}"


def percent(share: float | None) -> str:
    """Format a share of one: `12 %`; below one percent `0.4 %`; never rounded to 0 or 100 unless it is."""
    if share is None or not math.isfinite(share):
        return _NONE
    points = 100 * round(share, _EXACT)
    if points <= 0 or points >= 100 or 0.95 <= points <= 99:
        return f"{points:z.0f}{THIN}%"
    if points > 99:
        return f">{THIN}99{THIN}%"
    return f"{points:.1f}{THIN}%" if points >= 0.1 else f"<{THIN}0.1{THIN}%"


def percent_to_tenth(share: float | None) -> str:
    """Format a share of one to a tenth of a percent, for differences of points: `58.2 %`, `> 99.9 %`."""
    if share is None or not math.isfinite(share):
        return _NONE
    if round(share, _EXACT) in (0, 1):
        return percent(share)
    if not 0.0005 <= share < 0.9995:
        return f"<{THIN}0.1{THIN}%" if share < 0.5 else f">{THIN}99.9{THIN}%"
    return f"{100 * share:.1f}{THIN}%"


def share_of(share: float | None, n: float) -> str:
    """Format a share of n examples: to a tenth of a percent if there are at least a hundred."""
    return percent_to_tenth(share) if n >= 100 else percent(share)


def decimal(value: float | None) -> str:
    """Format a loss or a weight: three significant digits, `1.83`, `0.00421`, `12 300`, `6.00e−05`."""
    if value is None or not math.isfinite(value):
        return _NONE
    if value == 0:
        return "0"
    text = f"{value:.2e}"
    magnitude = int(text.partition("e")[2])
    if -4 <= magnitude <= 6:
        text = f"{round(value, 2 - magnitude):,.{max(0, 2 - magnitude)}f}"
    return text.replace(",", THIN).replace("-", "−")


def format_value(value: object, most: int = LONGEST_VALUE) -> str:
    """Format any value of a table or a record: fractions shortened, booleans as words, missing values as a dash.

    Only the start of a text of more than `most` characters is shown.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = f"{value:.0f}" if 1e4 <= abs(value) < 1e16 else f"{value:.4g}"
    else:
        text = shortened(str(value), most)
    return text.replace("-", "−") if isinstance(value, int | float) else text


def format_lift(lift: float | None) -> str:
    """Format a lift: `3.8×`; a value that occurs only inside has no number."""
    if lift is None or math.isnan(lift):
        return _NONE
    if math.isinf(lift):
        return "only here"
    return f"{lift:,.0f}×".replace(",", THIN) if lift >= _TEN else f"{lift:.1f}×"


def probability(p: float | None) -> str:
    """Format a p-value with its relation, with no line break between: `= 0.030`, `< 0.001`."""
    if p is None or math.isnan(p):
        return _NONE
    if p < 0.001:
        return f"<{THIN}0.001"
    return f"={THIN}{p:.3f}" if p < 0.1 else f"={THIN}{p:.2f}"


def signed(value: float, share: bool) -> str:
    """Format a difference with its sign: shares in percentage points, `+12`, `−0.4`, others in three digits."""
    if not math.isfinite(value):
        return _NONE
    size = 100 * abs(value) if share else abs(value)
    text = decimal(size) if not share else f"{size:.0f}" if size >= 0.95 else f"{size:.1f}"
    if not text.strip("0."):
        return "±0"
    return ("+" if value > 0 else "−") + text
