"""Several processes, one decision: rank 0 decides and the others follow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_utilities.core.rank_zero import rank_zero_only


def is_main() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


def agree(word: str, decide: Callable[[], Any]) -> Any:
    """What rank 0 decides, in every process; `decide` runs on rank 0 alone and returns plain JSON values.

    Children that Lightning is yet to launch inherit the decision with the environment; processes that already
    form a group have it broadcast.
    """
    if dist.is_available() and dist.is_initialized():
        box = [decide() if dist.get_rank() == 0 else None]
        dist.broadcast_object_list(box)
        return box[0]
    variable = f"WEAKSPOT_{word.upper()}"
    if is_main():
        decision = decide()
        os.environ[variable] = json.dumps(decision)
        return decision
    return json.loads(os.environ[variable])


@contextmanager
def processes() -> Iterator[None]:
    """Around one job: join the group that torchrun or SLURM started, and leave nothing behind for the next job.

    Lightning marks the process that launched children by environment variables; a second job of a sweep
    would take itself for such a child and wait for siblings that never come.
    """
    before = dict(os.environ)
    _join_launched_group()
    try:
        yield
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _join_launched_group() -> None:
    if not dist.is_available() or dist.is_initialized():
        return
    if SLURMEnvironment.detect():
        cluster = SLURMEnvironment()
        os.environ["MASTER_ADDR"] = cluster.main_address
        os.environ["MASTER_PORT"] = str(cluster.main_port)
        os.environ["RANK"] = str(cluster.global_rank())
        os.environ["WORLD_SIZE"] = str(cluster.world_size())
    elif not dist.is_torchelastic_launched():
        return
    if int(os.environ["WORLD_SIZE"]) > 1:
        dist.init_process_group()
