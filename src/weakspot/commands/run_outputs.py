"""Builds what a run of discover.py writes besides slices and findings, and checks its settings beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from weakspot.commands.run_logging import typed_command

if TYPE_CHECKING:
    from weakspot.pipeline.run_outputs import RunOutputs
    from weakspot.report.options import ReportOptions
    from weakspot.tracking.loggers import RunLogger


def check_run_outputs(cfg: DictConfig) -> None:
    """Check the settings of the report, the export and the figures before anything takes time.

    Raises:
        ImportError: If a library that they need is missing.
        ValueError: If one of them cannot be used.
    """
    from weakspot.pipeline.export import check_export

    check_export(cfg.export)
    check_figures(cfg)
    report_options(cfg)


def build_run_outputs(cfg: DictConfig, logger: RunLogger | None) -> RunOutputs:
    """Return what the run writes besides slices and findings."""
    from weakspot.pipeline.run_outputs import RunOutputs

    return RunOutputs(
        report=report_options(cfg),
        logger=logger,
        export=cfg.export,
        figures=cfg.figures,
        command=typed_command(),
    )


def check_figures(cfg: DictConfig) -> None:
    """Raise ValueError for figures that cannot be drawn, or ImportError without matplotlib, before anything is run."""
    if cfg.figures is None:
        return
    from weakspot.figures import FORMATS

    if cfg.figures not in FORMATS:
        raise ValueError(f"figures={cfg.figures} is not a format of figures; choose {', '.join(FORMATS)}")
    if cfg.compare:
        raise ValueError(
            f"figures={cfg.figures} draws what one run found, and compare=… compares two: leave out one of them"
        )


def report_options(cfg: DictConfig) -> ReportOptions:
    """Return how much the report shows.

    Raises:
        ImportError: If the map needs a library that is missing.
        ValueError: If a setting is unknown.
    """
    from weakspot.explain.neighbour_maps import check_installed
    from weakspot.report.options import ReportOptions

    options = ReportOptions(cfg.report.members, cfg.report.examples, cfg.report.map)
    check_installed(options.map)
    return options
