"""A switch that keeps Hugging Face's libraries from calling the hub unless the user asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hub_network(allowed: bool) -> Iterator[None]:
    """Make Hugging Face's libraries read only their cache inside the block, unless `allowed`.

    `local_files_only` is not enough: huggingface_hub (1.x) then fetches no file of the model, but still asks the hub
    for a list of programs that it might run under.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not allowed:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
