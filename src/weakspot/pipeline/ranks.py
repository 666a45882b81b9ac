"""Several processes, one decision: rank 0 decides and the others follow."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# torch is imported where a group of processes exists: a job of one process may never need it.

_times_agreed: Counter[str] = Counter()
"""How often each word has been decided on in this job."""


def is_main() -> bool:
    """Whether this is rank 0, or the process that is yet to launch the others."""
    if _grouped():
        import torch.distributed as dist

        return dist.get_rank() == 0
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return int(next((rank for rank in ranks if rank), "0")) == 0


def agree(word: str, decide: Callable[[], Any]) -> Any:
    """What rank 0 decides, in every process; `decide` runs on rank 0 alone and returns plain JSON values.

    Processes that already form a group have it broadcast. Children that Lightning is yet to launch run the job from
    its start, and find in the environment what was decided at each of these calls, the first of a word, the second…
    """
    if _grouped():
        import torch.distributed as dist

        box = [decide() if dist.get_rank() == 0 else None]
        dist.broadcast_object_list(box)
        return box[0]
    _times_agreed[word] += 1
    variable = f"WEAKSPOT_{word.upper()}_{_times_agreed[word]}"
    if is_main():
        decision = decide()
        os.environ[variable] = json.dumps(decision)
        return decision
    return json.loads(os.environ[variable])


@contextmanager
def processes(accelerator: str = "auto") -> Iterator[None]:
    """Around one job: join the group that torchrun or SLURM started, and leave nothing behind for the next.

    Lightning marks the process that launched children by environment variables; a second job of a sweep
    would take itself for such a child and wait for siblings that never come.
    """
    before = dict(os.environ)
    _times_agreed.clear()
    _join_launched_group(accelerator)
    try:
        yield
    finally:
        if _grouped():
            import torch.distributed as dist

            dist.destroy_process_group()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _grouped() -> bool:
    if "torch.distributed" not in sys.modules:
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def _join_launched_group(accelerator: str) -> None:
    """Lightning joins what is already joined, so the plan can be agreed on before a trainer exists."""
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    slurm = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ
    if slurm and not torchrun:
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        if not SLURMEnvironment.detect():  # an interactive shell, whose tasks are not ours
            return
        cluster = SLURMEnvironment()
        os.environ["MASTER_ADDR"] = cluster.main_address
        os.environ["MASTER_PORT"] = str(cluster.main_port)
        os.environ["RANK"] = str(cluster.global_rank())
        os.environ["WORLD_SIZE"] = str(cluster.world_size())
    if torchrun or slurm:
        import torch
        import torch.distributed as dist

        # Lightning picks its way of averaging by the backend's name, so it must be one, not torch's default pair
        if accelerator == "cpu" or not torch.cuda.is_available():
            dist.init_process_group("gloo")
        else:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))))
            dist.init_process_group("nccl")
