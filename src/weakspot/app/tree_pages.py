"""Cluster trees: of the published tool's files that are uploaded, and of the runs at hand."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from weakspot.app.forms import name_of, number, uploaded, whole
from weakspot.app.pages import page
from weakspot.app.runs import Run, Runs
from weakspot.app.trees import Tree, published_tree, tree_of
from weakspot.interop import udis_tree
from weakspot.slices import ClusterNode
from weakspot.slices.failing import ACCURACY_THRESHOLD

MOST_BYTES = 64 << 20
"""Of a tree that is uploaded."""

UPLOAD = "/trees"

_KEPT = 8  # trees in memory
_SHOWN = 2000  # nodes of an outline, and members of a node, on a page


@dataclass(frozen=True)
class Kept:
    """A tree, what it is called, and where its page is."""

    name: str
    address: str
    tree: Tree


@dataclass(frozen=True)
class Failing:
    """A failing cluster of a run."""

    run: Run
    category: str
    node: ClusterNode


class TreePages:
    """The pages of cluster trees.

    Args:
        runs: Those at hand.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._uploaded: OrderedDict[str, Kept] = OrderedDict()
        self._of_runs: OrderedDict[tuple[str, float], Tree] = OrderedDict()
        self._lock = Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/clusters", self.clusters),
            Route(UPLOAD, self.form),
            Route(UPLOAD, self.upload, methods=["POST"]),
            Route("/{kind}/{digest}/tree", self.tree),
            Route("/{kind}/{digest}/node/{number:int}", self.node),
            Route("/{kind}/{digest}/node/{number:int}/ids.csv", self.ids),
        ]

    def form(self, request: Request) -> Response:
        with self._lock:
            kept = list(self._uploaded.values())
        return page("upload_tree", uploaded=kept, most=MOST_BYTES)

    async def upload(self, request: Request) -> Response:
        async with request.form(max_files=1, max_fields=4) as form:
            file = uploaded(form, "file")
            name, content = name_of(file), await file.read()
        digest = hashlib.sha256(content).hexdigest()[:16]
        tree = await run_in_threadpool(lambda: published_tree(udis_tree.parse(content, name)))
        with self._lock:
            _keep(self._uploaded, digest, Kept(name, f"/uploaded/{digest}", tree))
        return RedirectResponse(f"/uploaded/{digest}/tree", 303)

    def tree(self, request: Request) -> Response:
        kept, words = self._asked(request), request.query_params
        tree = kept.tree
        share = number(words, "threshold", ACCURACY_THRESHOLD, 0, 100)
        accuracy = number(words, "accuracy", 100 * tree.root.accuracy, 0, 100)
        failing = tree.below(share, accuracy / 100)
        return page(
            "tree",
            kept=kept,
            tree=tree,
            failing=failing,
            share=share,
            accuracy=accuracy,
            given=words.get("accuracy", ""),
            outline=tree.outline(failing, _SHOWN),
            marked={node.id for node in failing},
            nodes=sum(1 for _ in tree.root.walk()),
        )

    def node(self, request: Request) -> Response:
        kept, node = self._asked_node(request)
        start, members = whole(request.query_params, "from"), kept.tree.members(node)
        return page(
            "node",
            kept=kept,
            node=node,
            members=[(kept.tree.ids[row], wrong) for row, wrong in members[start:][:_SHOWN]],
            start=start,
            following=start + _SHOWN if start + _SHOWN < len(members) else None,
        )

    def ids(self, request: Request) -> Response:
        kept, node = self._asked_node(request)
        rows = [(kept.tree.ids[row], int(wrong)) for row, wrong in kept.tree.members(node)]
        return table(("id", "wrong"), rows, f"cluster-{node.id}.csv")

    def clusters(self, request: Request) -> Response:
        words = request.query_params
        share = number(words, "threshold", ACCURACY_THRESHOLD, 0, 100)
        accuracy = number(words, "accuracy", -1, 0, 100) if words.get("accuracy", "").strip() else None
        having = [run for run in self._runs.all() if run.clusters]
        asked = [run for run in having if _fits(run, words)]
        failing, refused = [], []
        for run in asked:
            try:
                nodes = self._of_run(run).below(share, None if accuracy is None else accuracy / 100)
            except (ValueError, OSError) as error:
                refused.append(str(error))
            else:
                failing += [Failing(run, _category(run), node) for node in nodes]
        return page(
            "clusters",
            failing=failing,
            refused=refused,
            asked=asked,
            choices={
                "dataset": _values(run.dataset for run in having),
                "model": _values(run.model for run in having),
                "category": _values(_category(run) for run in having),
            },
            words=words,
            share=share,
        )

    def _asked(self, request: Request) -> Kept:
        kind, digest = request.path_params["kind"], request.path_params["digest"]
        with self._lock:
            kept = self._uploaded.get(digest) if kind == "uploaded" else None
        if kept is not None:
            return kept
        run = self._runs.find(digest) if kind == "run" else None
        if run is None:
            raise HTTPException(404, "There is no such tree, or no longer: upload it again.")
        return Kept(f"{run.model} on {run.dataset}", f"/run/{digest}", self._of_run(run))

    def _asked_node(self, request: Request) -> tuple[Kept, ClusterNode]:
        kept = self._asked(request)
        node = kept.tree.node(request.path_params["number"])
        if node is None:
            raise HTTPException(404, "The tree has no such node.")
        return kept, node

    def _of_run(self, run: Run) -> Tree:
        key = run.digest, run.created.timestamp()
        with self._lock:
            tree = self._of_runs.get(key)
        if tree is None:  # two that ask at once both read it: nobody waits for another's tree
            tree = tree_of(run)
            with self._lock:
                _keep(self._of_runs, key, tree)
        return tree


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], name: str) -> Response:
    """A CSV file to save."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.getvalue(), media_type="text/csv", headers=headers)


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Keep the newest few."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _KEPT:
        kept.popitem(last=False)


def _fits(run: Run, words: Mapping[str, str]) -> bool:
    said = {"dataset": run.dataset, "model": run.model, "category": _category(run)}
    return all(words.get(name, "") in ("", value) for name, value in said.items())


def _category(run: Run) -> str:
    """The category that a run audited; empty where it audited all."""
    category = run.settings.get("category", "null")
    return "" if category == "null" else category


def _values(values: Any) -> list[str]:
    return sorted({value for value in values if value})
