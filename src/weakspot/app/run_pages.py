"""The pages of a run: filtered examples, Grad-CAM of any layer and class, and new slices that are tested."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from weakspot.app.filters import Filter
from weakspot.app.forms import parse_whole_number
from weakspot.app.loaded_runs import LoadedRun, LoadedRuns
from weakspot.app.pages import map_section, render_page
from weakspot.app.run_components import encode_webp
from weakspot.app.run_files import file_inside
from weakspot.app.run_index import RunIndex
from weakspot.app.run_previews import RunPreviews, RunPreviewsCache
from weakspot.app.selections import MIN_TICKED, next_selection_test, save_selection, similarity_weights
from weakspot.app.tree_pages import csv_response
from weakspot.explain.cam_class import DEFAULT_CAM_CLASS
from weakspot.findings import Media
from weakspot.legible import printable_lines

_PAGE_SIZE = 60  # examples on a page
_THUMBNAIL = 160  # pixels
_CLASSES_SHOWN = 5  # classes of an example


@dataclass(frozen=True)
class ExampleRow:
    """An example as a page shows it; `text` holds its attributes if the examples are neither images nor texts."""

    row: int
    id: str
    label: str | None
    prediction: str | None
    wrong: bool | None
    loss: float | None
    searched: bool
    text: str = ""


class RunPages:
    """Serves the pages of one run.

    Args:
        runs: The runs below the folders.
        loaded_runs: The same runs with their slices and predictions.
        previews_of: Returns the previews of a run's examples.
        home: The folder of new slices.
    """

    def __init__(
        self,
        runs: RunIndex,
        loaded_runs: LoadedRuns,
        previews_of: Callable[[LoadedRun, RunIndex], RunPreviews],
        home: Path,
    ) -> None:
        self._runs, self._loaded_runs = runs, loaded_runs
        self._previews_cache = RunPreviewsCache(runs, previews_of)
        self._home = home
        self._selecting = Lock()  # two selections at a time would get the same number

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        return [
            Route("/run/{digest}", self.run),
            Route("/run/{digest}/ids.csv", self.ids),
            Route("/run/{digest}/image/{row:int}", self.image),
            Route("/run/{digest}/example/{row:int}", self.example),
            Route("/run/{digest}/cam/{row:int}", self.cam),
            Route("/run/{digest}/slices", self.select, methods=["POST"]),
        ]

    def run(self, request: Request) -> Response:
        """Show the examples that meet the criteria in the URL."""
        loaded, query = self._loaded_run(request), request.query_params
        criteria = Filter.from_query(query, loaded)
        previews, problem = self._previews(loaded)
        mask = criteria.mask(loaded, previews.texts if previews and criteria.search else None)
        rows, start = criteria.order(loaded, mask), parse_whole_number(query, "from")
        examples = [self._example_row(loaded, previews, int(row)) for row in rows[start:][:_PAGE_SIZE]]
        has_images = previews is not None and previews.has_images
        has_texts = previews is not None and previews.has_texts
        if not (has_images or has_texts):
            examples = [replace(one, text=_in_one_line(loaded.attributes_of(one.row))) for one in examples]
        shows_map = query.get("map") == "shown" or criteria.lasso is not None
        points = loaded.points(criteria.rows) if shows_map else None
        return render_page(
            "run",
            points=points,
            map=map_section(points) if points else "",
            has_map=loaded.map_positions is not None,
            loaded=loaded,
            run=loaded.run,
            criteria=criteria,
            examples=examples,
            n_found=len(rows),
            accuracy=_accuracy(loaded, rows),
            next_start=start + _PAGE_SIZE if start + _PAGE_SIZE < len(rows) else None,
            has_images=has_images,
            has_texts=has_texts,
            problem=problem,
            n_searched=int(mask[loaded.searched].sum()),
            test=next_selection_test(self._runs, loaded),
            min_ticked=MIN_TICKED,
            form_fields=_form_fields(criteria),
        )

    def ids(self, request: Request) -> Response:
        """Return the ids of the same examples as CSV."""
        loaded = self._loaded_run(request)
        criteria = Filter.from_query(request.query_params, loaded)
        previews, _ = self._previews(loaded) if criteria.search else (None, "")
        mask = criteria.mask(loaded, previews.texts if previews and criteria.search else None)
        rows = [self._example_row(loaded, None, int(row)) for row in criteria.order(loaded, mask)]
        values = [
            (
                example.id,
                "searched" if example.searched else "held out",
                example.label,
                example.prediction,
                example.wrong,
                example.loss,
            )
            for example in rows
        ]
        return csv_response(("id", "rows", "label", "prediction", "wrong", "loss"), values, "examples.csv")

    def image(self, request: Request) -> Response:
        """Return the image of an example."""
        loaded = self._loaded_run(request)
        row, side = (
            _requested_row(request, loaded),
            parse_whole_number(request.query_params, "side", _THUMBNAIL),
        )
        preview = self._require_previews(loaded).preview(row)
        if not isinstance(preview, Image.Image):
            raise HTTPException(404, "This example is not an image.")
        return Response(encode_webp(preview, min(max(side, 16), 1024)), media_type="image/webp")

    def cam(self, request: Request) -> Response:
        """Return the Grad-CAM overlay of an example."""
        loaded, query = self._loaded_run(request), request.query_params
        target = _cam_class(query.get("class", DEFAULT_CAM_CLASS), loaded, _requested_row(request, loaded))
        overlay = self._require_previews(loaded).cam_overlay(
            _requested_row(request, loaded), query.get("layer", ""), target
        )
        return Response(encode_webp(overlay), media_type="image/webp")

    def example(self, request: Request) -> Response:
        """Show one example."""
        loaded, query = self._loaded_run(request), request.query_params
        row = _requested_row(request, loaded)
        previews, problem = self._previews(loaded)
        preview = None
        if previews is not None:
            try:
                preview = previews.preview(row)
            except (ValueError, OSError) as error:
                problem = printable_lines(str(error))
        is_image, layer = isinstance(preview, Image.Image), ""
        layers: Sequence[str] = ()
        if previews is not None and is_image:
            try:
                layers, layer = previews.layers, query.get("layer", "") or previews.default_layer
            except (ValueError, OSError) as error:
                problem = str(error)
        cam_class = query.get("class", DEFAULT_CAM_CLASS)
        _cam_class(cam_class, loaded, row)
        node = None if loaded.tree is None else loaded.tree.leaf_of(row)
        return render_page(
            "example",
            loaded=loaded,
            run=loaded.run,
            example=self._example_row(loaded, previews, row),
            is_image=is_image,
            attributes=loaded.attributes_of(row),
            layers=layers,
            layer=layer,
            cam_class=cam_class,
            has_single_label=loaded.predictions.labels is not None and loaded.predictions.labels.ndim == 1,
            classes=loaded.predictions.classes(),
            most_likely=_most_likely_classes(loaded, row),
            groups=[(key, name) for key, (name, rows) in loaded.groups.items() if row in rows],
            node=node,
            problem=problem,
        )

    async def select(self, request: Request) -> Response:
        """Test the selected examples as a slice, and redirect to its report."""
        async with request.form(max_files=0, max_fields=200) as form:
            query = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        return RedirectResponse(await run_in_threadpool(self._select, request, QueryParams(query)), 303)

    def _select(self, request: Request, query: QueryParams) -> str:
        loaded = self._loaded_run(request)
        previews, _ = self._previews(loaded)
        texts, lasso = previews.texts if previews else None, None
        if query.getlist("row"):
            weights, description = self._ticked(loaded, query)
        else:
            criteria = _definition_from(loaded, query)
            weights, description, lasso = (
                criteria.mask(loaded, texts).astype(np.float64),
                criteria.description,
                criteria.lasso,
            )
        folder = self._home / secrets.token_hex(8)
        media = Media() if previews is None else Media(previews.preview)
        with self._selecting:
            save_selection(
                loaded,
                weights,
                description,
                folder,
                next_selection_test(self._runs, loaded),
                media,
                texts,
                lasso,
            )
        config = file_inside(loaded.run.folder, "config.yaml")
        # with the configuration of the dataset and the model, the new run's examples can be shown as well
        if config is not None:
            shutil.copyfile(config, folder / "config.yaml")
        (saved,) = self._runs.in_folder(folder)
        return saved.address

    def _ticked(self, loaded: LoadedRun, query: QueryParams) -> tuple[Any, str]:
        """Return how similar every example is to the ticked ones, and a description of the selection."""
        rows = sorted({parse_whole_number({"row": row}, "row") for row in query.getlist("row")})
        weights = similarity_weights(loaded, rows)
        names = [str(loaded.predictions.ids[row]) for row in rows]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return weights, f"like {', '.join(names[:3])}{more}"

    def _loaded_run(self, request: Request) -> LoadedRun:
        run = self._runs.find(request.path_params["digest"])
        if run is None or run.is_comparison:
            raise HTTPException(404, "There is no such run, or it no longer exists; the list shows all runs.")
        return self._loaded_runs.load(run)

    def _previews(self, loaded: LoadedRun) -> tuple[RunPreviews | None, str]:
        """Return the previews of a run, or None and why there are none."""
        try:
            previews = self._previews_cache.get(loaded)
            previews.open()
        except Exception as error:  # the data and the configuration may be anything
            return None, printable_lines(str(error) or type(error).__name__)
        return previews, ""

    def _require_previews(self, loaded: LoadedRun) -> RunPreviews:
        previews, problem = self._previews(loaded)
        if previews is None:
            raise HTTPException(404, problem)
        return previews

    def _example_row(self, loaded: LoadedRun, previews: RunPreviews | None, row: int) -> ExampleRow:
        p = loaded.predictions
        try:
            preview = previews.preview(row) if previews is not None and previews.has_texts else None
        except (ValueError, OSError) as error:  # the page still shows the other examples
            preview = printable_lines(str(error))
        text = preview if isinstance(preview, str) else ""
        if isinstance(preview, Mapping):
            text = _in_one_line(preview)
        return ExampleRow(
            row,
            str(p.ids[row]),
            loaded.label(row),
            loaded.prediction(row),
            None if p.correct is None else not bool(p.correct[row]),
            None if p.losses is None else float(p.losses[row]),
            bool(loaded.searched[row]),
            text,
        )


def _in_one_line(values: Mapping[str, Any]) -> str:
    return " · ".join(f"{name}: {value}" for name, value in values.items() if value is not None)


def _requested_row(request: Request, loaded: LoadedRun) -> int:
    row: int = request.path_params["row"]
    if row >= len(loaded):
        raise HTTPException(404, "The run has no such example.")
    return row


def _cam_class(chosen: str, loaded: LoadedRun, row: int) -> int | None:
    """Return the index of the class that Grad-CAM explains; None for the predicted one."""
    classes = loaded.predictions.classes()
    if chosen == "predicted":
        return None
    if chosen == "label":
        labels = loaded.predictions.labels
        if labels is None or labels.ndim != 1:
            raise ValueError("These predictions do not have a single label.")
        return int(labels[row])
    if chosen not in classes:
        raise ValueError(f"class={chosen[:100]} is neither predicted, nor label, nor one of the classes")
    return classes.index(chosen)


def _definition_from(loaded: LoadedRun, query: QueryParams) -> Filter:
    """Read the criteria of a form, for all examples; they must describe the examples themselves."""
    criteria = replace(Filter.from_query(query, loaded), rows="")
    if not criteria.is_definition:
        raise ValueError(
            "A slice to test is defined by what its examples are: filter by attributes, label, text or a lasso on the "
            "map, not by the model's prediction or whether it is right; or tick some examples."
        )
    return criteria


def _form_fields(criteria: Filter) -> list[tuple[str, str]]:
    """Return the criteria as the fields of a form, without `rows`."""
    return [(name, value) for name, value in parse_qsl(criteria.query) if name != "rows"]


def _accuracy(loaded: LoadedRun, rows: Any) -> float | None:
    """Return the accuracy on some rows; None if predictions are not simply right or wrong."""
    p = loaded.predictions
    if p.correct is None or not len(rows):
        return None
    counts = None if p.counts is None else np.asarray(p.counts)[rows]
    return float(np.average(np.asarray(p.correct)[rows], weights=counts))


def _most_likely_classes(loaded: LoadedRun, row: int) -> list[tuple[str, float]]:
    """Return the most likely classes with their probabilities; empty if the task is not classification."""
    p = loaded.predictions
    if p.outputs is None or p.task is None or p.task.kind != "classification" or p.outputs.shape[1] < 2:
        return []
    z = np.asarray(p.outputs[row], dtype=np.float64)
    probabilities = np.exp(z - z.max())
    probabilities /= probabilities.sum()
    return [(p.classes()[c], float(probabilities[c])) for c in np.argsort(-probabilities)[:_CLASSES_SHOWN]]
