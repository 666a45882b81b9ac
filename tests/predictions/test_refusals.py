"""Errors of the operating system in one sentence: where, why, and what to do."""

from __future__ import annotations

import errno

import pytest

from weakspot.predictions.atomic_files import writing


def test_an_error_is_explained_only_once(tmp_path):
    """The innermost writer knows the folder best."""
    with (
        pytest.raises(PermissionError) as caught,
        writing(tmp_path / "outer", "outer_dir"),
        writing(tmp_path / "inner"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert str(caught.value) == (
        f"{tmp_path / 'inner'} cannot be written (Permission denied); give another folder, or the right to write there"
    )
