"""The record of all findings of a run: computed once, saved, and shown alike by the report, W&B and the explorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool
from pydantic import ConfigDict, TypeAdapter

from weakspot.evaluation.confirmation import LEVEL
from weakspot.findings.entries import (
    AuditedSet,
    Cluster,
    Confirmation,
    Example,
    Slice,
)
from weakspot.findings.finding import Finding
from weakspot.findings.group_descriptions import SHOWN
from weakspot.findings.map import NO_MAP, MapKind, read_map, same_map
from weakspot.findings.memberships import (
    NO_MEMBERSHIPS,
    groups_of_slices,
    memberships_table,
    read_memberships,
)
from weakspot.findings.typed_json import read_typed
from weakspot.methods.base import NearMiss
from weakspot.predictions import Predictions
from weakspot.predictions.atomic_files import atomic_file, writing
from weakspot.predictions.seals import add_seal, check_seal
from weakspot.slices import Slices

SCHEMA = 1
FILE = "findings.json"
MEMBERSHIPS = "memberships.parquet"
MAP = "map.parquet"

_REMEDY = "run discover.py again"


@dataclass(frozen=True, eq=False)
class Findings:
    """Holds all that was found in one run; `Findings.build` makes it.

    Attributes:
        schema: Version of `findings.json`.
        method: The method's word on the command line.
        seeks: Whether it looks for examples that the model does worse on, or better.
        title: The headline: what was found, or that nothing reliable was.
        whole: The audited set.
        confirmation: How the slices were tested.
        findings: All findings, confirmed or not, most errors explained first.
        slices: Every slice of the method, in its order.
        examples: Every example that is shown somewhere, by row.
        clusters: The cluster tree, for methods that have one.
        cut_scores: The numbers of clusters that were scored, each with its silhouette.
        near_misses: If the method found no slice, what came nearest to being one; `node` is a cluster's `id`.
        notes: Words of caution.
        reads_attributes: Whether the method reads attributes, which otherwise only describe what was found; True for an
            unknown method, False in files of an earlier version.
        dataset, model, split, command, created: What was audited, by which command line, and when.
        provenance: The method's settings and the provenance of the predictions, as slices record it.
        memberships: The table (group, number, row, id, weight, searched) of every example of every finding and slice.
        map: The table of where every audited example lies on a map, and what is known about it
            (`weakspot.findings.map.build_map`); empty if there is no map.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)  # the tables

    schema: int
    title: str
    method: str
    seeks: Literal["worse", "better"]
    dataset: str
    model: str
    split: str
    command: str
    created: str
    whole: AuditedSet
    confirmation: Confirmation
    findings: tuple[Finding, ...]
    slices: tuple[Slice, ...]
    examples: tuple[Example, ...]
    clusters: tuple[Cluster, ...] = ()
    cut_scores: tuple[tuple[int, float], ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    notes: tuple[str, ...] = ()
    reads_attributes: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)
    memberships: pa.Table = field(default_factory=lambda: NO_MEMBERSHIPS)
    map: pa.Table = field(default_factory=lambda: NO_MAP)

    def __repr__(self) -> str:
        confirmed = sum(finding.confirmed for finding in self.findings)
        outcome = f"{confirmed} confirmed" if self.confirmation.tested else "not tested"
        counts = f"{len(self.findings)} findings, {outcome}"
        return f"Findings({self.method}: {counts}, of {self.whole.n} examples)"

    @classmethod
    def build(
        cls,
        predictions: Predictions,
        slices: Slices,
        *,
        confirm: Predictions | Bool[np.ndarray, " n"] | None = None,
        searched: int | None = None,
        source: str = "",
        hide: Sequence[str] = (),
        texts: Sequence[str] | None = None,
        stability: Sequence[float | None] | None = None,
        notes: Sequence[str] = (),
        command: str = "",
        created: datetime | None = None,
        level: float = LEVEL,
        seed: int = 0,
        members: int | Literal["all"] = SHOWN,
        projection: MapKind = "pca",
    ) -> Findings:
        """Test slices, extend, merge and name them, and describe everything that is found.

        Slices are tested within labels on examples that they were not found in, and also group by group if the search
        kept groups together or the predictions name a group. Confirmed slices are extended as far as errors stay more
        common than beyond, and those that lie in one place are merged into one finding.

        Args:
            predictions: The n examples that the slices are described over.
            slices: What a method found, with a weight for each of these examples.
            confirm: What to test on: a mask (n,) of the rows of `predictions` that were not searched for slices (all
                False means that too few examples could be set aside, all True that the slices were found elsewhere), or
                other predictions of the same model. None tests nothing.
            searched: How many examples were searched for slices, if these are not among `predictions`.
            source: The tested examples in words, for readers of the findings; or why nothing is tested.
            hide: Names of attributes that restate the target (on the command line `dataset.hide`): they neither name
                nor describe a finding, except that a slice that is a rule about one is named by the rule. Attributes
                that correspond to the label one to one are left out anyway.
            texts: The text of each example, for its words.
            stability: The stability of every slice, if it was measured.
            notes: Words of caution, in addition to the method's own.
            command: The command line that made the slices.
            created: When the findings were made; now by default.
            level: The false discovery rate of confirmed slices.
            seed: The seed of samples, permutations and halvings.
            members: How many top examples of each finding and slice are kept; "all" describes every other member, too.
            projection: How the map of the examples is made; "none" makes no map.

        Returns:
            The findings.

        Raises:
            ImportError: If the map needs a library that is missing.
            TypeError: If `predictions` or `slices` are of another type, or `hide` is a string.
            ValueError: If the slices have other ids, lengths differ, `hide` names an unknown attribute, nothing
                distinguishes good examples from bad ones, or `confirm` cannot test these slices.
        """
        from weakspot.findings.build import build

        return build(
            predictions,
            slices,
            confirm=confirm,
            searched=searched,
            source=source,
            hide=hide,
            texts=texts,
            stability=stability,
            notes=notes,
            command=command,
            created=created or datetime.now().astimezone(),
            level=level,
            seed=seed,
            members=members,
            projection=projection,
        )

    def equals(self, other: Findings) -> bool:
        """Return whether both hold the same in every field and every row."""
        one, another = (_ADAPTER.dump_json(findings, exclude=_TABLES) for findings in (self, other))
        return one == another and self.memberships.equals(other.memberships) and same_map(self.map, other.map)

    def example(self, row: int) -> Example:
        """Return the example of a row that is shown somewhere."""
        return self._by_row[row]

    @cached_property
    def _by_row(self) -> dict[int, Example]:
        return {example.row: example for example in self.examples}

    def describes(self, slices: Slices) -> bool:
        """Return whether these are the slices that the findings were built from, by their members and weights."""
        if slices.method != self.method or len(slices) != len(self.slices):
            return False
        own = self.memberships.filter(pc.equal(self.memberships["group"], "slice"))
        others = memberships_table([*groups_of_slices(slices)], slices.ids, slices.searched_mask)
        same: bool = own.drop_columns(["searched"]).equals(others.drop_columns(["searched"]))
        return same

    def save(self, folder: str | Path) -> Path:
        """Write `findings.json` and its tables into `folder`; each appears whole or not at all.

        The tables are `memberships.parquet` and, if there is a map, `map.parquet`.

        Args:
            folder: A run's folder; it is created if missing.

        Returns:
            The path of `findings.json`.

        Raises:
            OSError: If a file cannot be written; the message says what to do.
        """
        folder = Path(folder)
        text = _ADAPTER.dump_json(self, indent=1, exclude=_TABLES)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            tables = {MEMBERSHIPS: self.memberships} | ({MAP: self.map} if self.map.num_rows else {})
            for name, table in tables.items():
                with atomic_file(folder / name) as draft:
                    pq.write_table(table, draft)
            with atomic_file(folder / FILE) as draft:  # last, so that it exists only if the tables do
                draft.write_bytes(add_seal(text + b"\n", [folder / name for name in tables]))
        return folder / FILE

    @classmethod
    def load(cls, folder: str | Path, *, tables: bool = True) -> Findings:
        """Read what `save` wrote.

        Args:
            folder: A run's folder.
            tables: Whether to read the tables, which may be large; without them, `memberships` and `map` are empty.

        Returns:
            Findings that equal those that were saved; those of an earlier version have no map.

        Raises:
            FileNotFoundError: If the folder holds no findings, or one of their files is missing.
            DamagedError: If a file cannot be read, or a field has an invalid value; the message names the file.
            ValueError: If the findings have a schema that this version does not read.
        """
        folder = Path(folder)
        file = folder / FILE
        if not file.is_file():
            raise FileNotFoundError(
                f"{folder} holds no {FILE}; `python discover.py` writes one into every run's folder"
            )
        found, fields = read_typed(file, _ADAPTER, SCHEMA)
        if not tables:
            check_seal(file, fields, (), _REMEDY)
            return found
        checksums = fields.get("checksums")
        mapped = MAP in checksums if isinstance(checksums, dict) else (folder / MAP).is_file()
        names = (MEMBERSHIPS, MAP) if mapped else (MEMBERSHIPS,)
        for name in names:
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing; {_REMEDY}")
        check_seal(file, fields, names, _REMEDY)
        return replace(
            found,
            memberships=read_memberships(folder / MEMBERSHIPS),
            map=read_map(folder / MAP) if mapped else NO_MAP,
        )


_ADAPTER = TypeAdapter(Findings)
_TABLES = {"memberships", "map"}  # kept beside the JSON
