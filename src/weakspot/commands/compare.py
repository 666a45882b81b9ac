"""The command `discover.py compare=[RUN_A,RUN_B]`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from weakspot.commands.fail_if import end_if_failed
from weakspot.commands.run_logging import log_on_main, open_logger, typed_command


def compare_two_runs(cfg: DictConfig, folder: Path) -> None:
    """Report which slices are fixed, persist or are new between two earlier runs."""
    from weakspot.findings.runs_to_compare import check_comparable
    from weakspot.pipeline.compare import compare_runs
    from weakspot.pipeline.fail_if import FailIf
    from weakspot.pipeline.processes import is_main_process
    from weakspot.pipeline.saved_runs import SavedRun

    if not is_main_process():
        return
    typed = f"compare=[{','.join(cfg.compare)}]"
    if len(cfg.compare) != 2:
        raise ValueError(f"{typed} takes the folders of two runs, the earlier one first")
    if len({Path(name).resolve() for name in cfg.compare}) == 1:
        raise ValueError(f"{typed}: both are the same run; name two, the earlier one first")
    baseline = cfg.fail_if.new_against
    if baseline is not None and Path(baseline).resolve() != Path(cfg.compare[0]).resolve():
        raise ValueError(
            f"fail_if.new_against={baseline}: {cfg.compare[1]} is compared with {cfg.compare[0]}; "
            f"write fail_if.new_against={cfg.compare[0]}"
        )
    before, after = (SavedRun.open(name).run_to_compare(Path(cfg.predictions_dir)) for name in cfg.compare)
    check_comparable(before, after)
    fail_if = FailIf(
        cfg.fail_if.accuracy_below, cfg.fail_if.error_above, None if baseline is None else before
    )
    fail_if.check(after.predictions)
    log_on_main(f"compare: {before.run} → {after.run}")
    with open_logger(cfg, folder) as logger:
        comparison = compare_runs(
            before, after, folder, logger=logger, command=typed_command(), seed=cfg.seed
        )
    end_if_failed(fail_if, fail_if.comparison_failures(comparison))
