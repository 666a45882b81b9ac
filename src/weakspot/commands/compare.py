"""What `discover.py compare=[RUN_A,RUN_B]` does."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from weakspot.commands.gate import end
from weakspot.commands.running import opened_logger, say, typed_command


def compare_two_runs(cfg: DictConfig, folder: Path) -> None:
    """What is fixed, persists and is new between two earlier runs."""
    from weakspot.findings.compare_slices import check_comparable
    from weakspot.pipeline.compare import compare_runs
    from weakspot.pipeline.gate import Gate
    from weakspot.pipeline.ranks import is_main
    from weakspot.pipeline.runs import Run

    if not is_main():
        return
    if len(cfg.compare) != 2 or len({Path(name).resolve() for name in cfg.compare}) != 2:
        raise ValueError(
            f"compare=[{','.join(cfg.compare)}] takes the folders of two runs, the earlier one first"
        )
    baseline = cfg.fail_if.new_against
    if baseline is not None and Path(baseline).resolve() != Path(cfg.compare[0]).resolve():
        raise ValueError(
            f"fail_if.new_against={baseline}: what is new in {cfg.compare[1]} is told against {cfg.compare[0]}; "
            f"write fail_if.new_against={cfg.compare[0]}"
        )
    before, after = (Run.open(name).reading(Path(cfg.predictions_dir)) for name in cfg.compare)
    check_comparable(before, after)
    gate = Gate(cfg.fail_if.accuracy_below, None if baseline is None else before)
    gate.check(after.predictions)
    say(f"compare: {before.run} → {after.run}")
    with opened_logger(cfg, folder) as logger:
        comparison = compare_runs(
            before, after, folder, logger=logger, command=typed_command(), seed=cfg.seed
        )
    end(gate.failures_of(comparison))
