"""The pages of cluster trees, from uploaded files of the published tool and from the runs below the folders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from weakspot.app.cluster_trees import ClusterTree, tree_of_published_file, tree_of_run
from weakspot.app.forms import display_name, parse_number, parse_whole_number, uploaded_file
from weakspot.app.pages import render_page
from weakspot.app.recent import Recent
from weakspot.app.run_index import RunIndex, RunSummary
from weakspot.delimited import csv_text
from weakspot.interop import udis_tree
from weakspot.slices import ClusterNode
from weakspot.slices.failing_rule import ACCURACY_THRESHOLD

MAX_BYTES = 64 << 20
"""The most bytes of an uploaded tree."""

UPLOAD = "/trees"

_MAX_CACHED = 8  # trees in memory
_PAGE_SIZE = 2000  # nodes of an outline, and members of a node, on a page


@dataclass(frozen=True)
class NamedTree:
    """A tree with its name and the address of its page."""

    name: str
    address: str
    tree: ClusterTree


@dataclass(frozen=True)
class FailingCluster:
    """A failing cluster of a run."""

    run: RunSummary
    category: str
    node: ClusterNode


class TreePages:
    """Serves the pages of cluster trees.

    Args:
        runs: The runs below the folders.
    """

    def __init__(self, runs: RunIndex) -> None:
        self._runs = runs
        self._uploaded: Recent[str, NamedTree] = Recent(_MAX_CACHED)
        self._run_trees: Recent[tuple[str, float], ClusterTree] = Recent(_MAX_CACHED)

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        return [
            Route("/clusters", self.clusters),
            Route(UPLOAD, self.form),
            Route(UPLOAD, self.upload, methods=["POST"]),
            Route("/{kind}/{digest}/tree", self.tree),
            Route("/{kind}/{digest}/node/{number:int}", self.node),
            Route("/{kind}/{digest}/node/{number:int}/ids.csv", self.ids),
        ]

    def form(self, request: Request) -> Response:
        """Show the form for an upload, and the trees that were uploaded."""
        return render_page("upload_tree", uploaded=self._uploaded.values(), max_bytes=MAX_BYTES)

    async def upload(self, request: Request) -> Response:
        """Read an uploaded tree, and redirect to its page."""
        async with request.form(max_files=1, max_fields=4) as form:
            file = uploaded_file(form, "file")
            name, content = display_name(file), await file.read()
        digest = hashlib.sha256(content).hexdigest()[:16]
        tree = await run_in_threadpool(lambda: tree_of_published_file(udis_tree.parse(content, name)))
        self._uploaded.add(digest, NamedTree(name, f"/uploaded/{digest}", tree))
        return RedirectResponse(f"/uploaded/{digest}/tree", 303)

    def tree(self, request: Request) -> Response:
        """Show a tree: its failing clusters and its outline."""
        named_tree, query = self._requested_tree(request), request.query_params
        tree = named_tree.tree
        threshold = parse_number(query, "threshold", ACCURACY_THRESHOLD, 0, 100)
        accuracy = parse_number(query, "accuracy", 100 * tree.root.accuracy, 0, 100)
        failing = tree.failing_clusters(threshold, accuracy / 100)
        return render_page(
            "tree",
            named_tree=named_tree,
            tree=tree,
            failing=failing,
            threshold=threshold,
            accuracy=accuracy,
            given_accuracy=query.get("accuracy", ""),
            outline=tree.outline(failing, _PAGE_SIZE),
            failing_ids={node.id for node in failing},
            n_nodes=sum(1 for _ in tree.root.walk()),
        )

    def node(self, request: Request) -> Response:
        """Show a node and its members."""
        named_tree, node = self._requested_node(request)
        start, members = parse_whole_number(request.query_params, "from"), named_tree.tree.members(node)
        return render_page(
            "node",
            named_tree=named_tree,
            node=node,
            members=[(named_tree.tree.ids[row], wrong) for row, wrong in members[start:][:_PAGE_SIZE]],
            start=start,
            next_start=start + _PAGE_SIZE if start + _PAGE_SIZE < len(members) else None,
        )

    def ids(self, request: Request) -> Response:
        """Return the ids of a node's members as CSV."""
        named_tree, node = self._requested_node(request)
        rows = [(named_tree.tree.ids[row], int(wrong)) for row, wrong in named_tree.tree.members(node)]
        return csv_response(("id", "wrong"), rows, f"cluster-{node.id}.csv")

    def clusters(self, request: Request) -> Response:
        """Show the failing clusters of all runs with a tree."""
        query = request.query_params
        threshold = parse_number(query, "threshold", ACCURACY_THRESHOLD, 0, 100)
        accuracy = parse_number(query, "accuracy", -1, 0, 100) if query.get("accuracy", "").strip() else None
        listed = self._runs.all()
        runs_with_tree = [run for run in listed if run.clusters]
        runs = [run for run in runs_with_tree if _matches(run, query)]
        failing = []
        errors = [run.damage for run in listed if run.damage and not run.is_comparison]  # it may have a tree
        for run in runs:
            try:
                nodes = self._tree_of_run(run).failing_clusters(
                    threshold, None if accuracy is None else accuracy / 100
                )
            except (ValueError, OSError) as error:
                errors.append(str(error))
            else:
                failing += [FailingCluster(run, _category(run), node) for node in nodes]
        return render_page(
            "clusters",
            failing=failing,
            errors=errors,
            runs=runs,
            choices={
                "dataset": _distinct(run.dataset for run in runs_with_tree),
                "model": _distinct(run.model for run in runs_with_tree),
                "category": _distinct(_category(run) for run in runs_with_tree),
            },
            query=query,
            threshold=threshold,
        )

    def _requested_tree(self, request: Request) -> NamedTree:
        kind, digest = request.path_params["kind"], request.path_params["digest"]
        named_tree = self._uploaded.get(digest) if kind == "uploaded" else None
        if named_tree is not None:
            return named_tree
        run = self._runs.find(digest) if kind == "run" else None
        if run is None:
            raise HTTPException(404, "There is no such tree, or it is gone: upload it again.")
        return NamedTree(run.audited, f"/run/{digest}", self._tree_of_run(run))

    def _requested_node(self, request: Request) -> tuple[NamedTree, ClusterNode]:
        named_tree = self._requested_tree(request)
        node = named_tree.tree.node(request.path_params["number"])
        if node is None:
            raise HTTPException(404, "The tree has no such node.")
        return named_tree, node

    def _tree_of_run(self, run: RunSummary) -> ClusterTree:
        key = run.digest, run.modified.timestamp()
        tree = self._run_trees.get(key)
        if tree is None:  # concurrent requests may both read it, so that none waits for another's tree
            tree = tree_of_run(run)
            self._run_trees.add(key, tree)
        return tree


def csv_response(header: Sequence[str], rows: Sequence[Sequence[Any]], name: str) -> Response:
    """Return a CSV file as a download."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(csv_text(header, rows), media_type="text/csv", headers=headers)


def _matches(run: RunSummary, query: Mapping[str, str]) -> bool:
    values = {"dataset": run.dataset, "model": run.model, "category": _category(run)}
    return all(query.get(name, "") in ("", value) for name, value in values.items())


def _category(run: RunSummary) -> str:
    """Return the category that a run audited; "" if it audited all examples."""
    category = run.settings.get("category", "null")
    return "" if category == "null" else category


def _distinct(values: Any) -> list[str]:
    return sorted({value for value in values if value})
