"""No call to Hugging Face's hub that nobody asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hub_network(allowed: bool) -> Iterator[None]:
    """Within it, unless `allowed`, Hugging Face's libraries read their cache alone.

    `local_files_only` does not do: huggingface_hub (1.x) then fetches no file of the model, but still asks the hub
    for a list of programs that it might be run by.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not allowed:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
