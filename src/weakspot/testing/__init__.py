"""Checks of the contracts of datasets, models and methods, for anyone's tests; the project's own tests run them too.

from weakspot.testing import METHOD_CHECKS, MethodCase

case = MethodCase(Ball)

@pytest.mark.parametrize("check", METHOD_CHECKS)
def test_contract(check):
    check(case)
"""

from __future__ import annotations

from weakspot.testing.datasets import check_dataset
from weakspot.testing.methods import METHOD_CHECKS, MethodCase, check_method, example_predictions
from weakspot.testing.models import check_model

__all__ = [
    "METHOD_CHECKS",
    "MethodCase",
    "check_dataset",
    "check_method",
    "check_model",
    "example_predictions",
]
