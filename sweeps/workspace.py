"""Save a workspace for the runs of a project in W&B: the table of runs, what was chosen beside what came of it, and
panels for each finding and slice.

    pip install 'weakspot[workspace]'
    python sweeps/workspace.py --entity my-team                # saves it, and says where it is
    python sweeps/workspace.py --entity my-team --print        # the specification as JSON: needs no login
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import wandb

try:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr
except ModuleNotFoundError:
    raise SystemExit("a workspace needs wandb-workspaces: pip install 'weakspot[workspace]'") from None

CHOSEN = ("words.method", "words.dataset", "words.model", "words.experiment", "seed")
"""Of a run's configuration."""

COMPARED = (
    "worst/gap",
    "confirmed/n",
    "confirmed/errors_explained",
    "n_slices",
    "test/accuracy",
    "test/loss",
)
"""Of a run's summary."""


def workspace(entity: str, project: str, swept: Sequence[str] = (), shown: int = 5) -> ws.Workspace:
    """The workspace, not yet saved.

    Args:
        entity: A person or a team.
        project: Where the runs are.
        swept: Settings that a sweep changes (`method.min_size`): they stand among what was chosen.
        shown: How many findings, and slices, have a section of their own.

    Returns:
        What `save()` sends.
    """
    numbers = range(1, shown + 1)
    return ws.Workspace(
        entity=entity,
        project=project,
        name="weakspot",
        sections=[
            comparison([*CHOSEN, *swept]),
            tables(),
            *map(finding, numbers),
            *map(found_slice, numbers),
        ],
        runset_settings=ws.RunsetSettings(
            filters=[expr.Metric("JobType") == "discover"],
            order=[expr.Ordering(expr.Summary("confirmed/errors_explained"), ascending=False)],
            pinned_columns=[
                "run:displayName",
                *map(config_column, [*CHOSEN, *swept]),
                *(f"summary:{name}" for name in COMPARED),
            ],
        ),
    )


def comparison(chosen: Sequence[str]) -> ws.Section:
    """What was chosen beside what came of it, a line for every run."""
    axes = [
        *(wr.ParallelCoordinatesPlotColumn(wr.Config(name)) for name in chosen),
        *(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(name)) for name in COMPARED),
    ]
    plot = wr.ParallelCoordinatesPlot(axes, title="What was chosen, and what came of it", layout=wide(10))
    bars = [wr.BarPlot(title=name, metrics=[name], layout=third()) for name in COMPARED]
    return ws.Section("Runs compared", [plot, *bars], is_open=True)


def tables() -> ws.Section:
    """What each run says, as the report has it."""
    shown = [
        wr.WeavePanelSummaryTable(table_name=name, layout=wide(10))
        for name in ("findings", "examples", "clusters")
    ]
    return ws.Section("What was found", [wr.MediaBrowser(media_keys=["report"], layout=wide(14)), *shown])


def finding(number: int) -> ws.Section:
    """Its examples beside the neighbour's, what is mistaken for what, and how it compares with the rest."""
    name = f"finding_{number}"
    confusion = wr.CustomChart.from_table(
        f"{name}/confusion_table",
        chart_fields={key: key for key in ("Actual", "Predicted", "nPredictions")},
        chart_strings={"title": f"Finding {number}: what is mistaken for what"},
    )
    confusion.chart_name = "wandb/confusion_matrix/v1"
    inside = [f"{name}/accuracy_inside", f"{name}/accuracy_outside"]
    return ws.Section(
        f"Finding {number}",
        [
            wr.MediaBrowser(media_keys=[f"{name}/examples"], layout=wide(10)),
            confusion,
            wr.BarPlot(title="Accuracy inside and outside", metrics=inside, layout=third()),
            wr.BarPlot(title="Share of all errors", metrics=[f"{name}/errors_explained"], layout=third()),
        ],
        is_open=number == 1,
    )


def found_slice(number: int) -> ws.Section:
    """How the search for it went, and what it came to."""
    name = f"slice_{number}"
    return ws.Section(
        f"Slice {number}",
        [
            wr.LinePlot(
                title="The search",
                x=f"{name}/search/step",
                metric_regex=f"{name}/search/(?!step).*",
                layout=third(),
            ),
            wr.BarPlot(
                title="Loss inside and outside",
                metrics=[f"{name}/loss_inside", f"{name}/loss_outside"],
                layout=third(),
            ),
            wr.BarPlot(title="Examples", metrics=[f"{name}/size"], layout=third()),
        ],
    )


def config_column(name: str) -> str:
    """A setting as the table of runs calls it: `config:words.value.method`."""
    first, *rest = name.split(".")
    return ".".join([f"config:{first}.value", *rest])


def wide(height: int) -> wr.Layout:
    """All of the page's 24 columns."""
    return wr.Layout(w=24, h=height)


def third() -> wr.Layout:
    """A third of them."""
    return wr.Layout(w=8, h=6)


def specification(made: ws.Workspace) -> str:
    """What `save()` would send, as JSON."""
    return made._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entity", required=True, help="a person or a team of W&B")
    parser.add_argument("--project", default="weakspot")
    parser.add_argument(
        "--swept", nargs="*", default=[], help="settings that a sweep changes: method.min_size"
    )
    parser.add_argument(
        "--shown", type=int, default=5, help="findings and slices with a section of their own"
    )
    parser.add_argument("--print", action="store_true", help="print the specification instead of saving it")
    words = parser.parse_args()
    made = workspace(words.entity, words.project, words.swept, words.shown)
    if words.print:
        print(specification(made))
        return
    try:
        print(made.save().url)
    except wandb.Error as error:
        raise SystemExit(f"W&B does not save the workspace: {error}") from None


if __name__ == "__main__":
    main()
