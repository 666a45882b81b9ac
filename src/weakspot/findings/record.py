"""The record of all findings of a run: computed once, saved, and shown alike by the report, W&B and the explorer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Shaped
from pydantic import ConfigDict, TypeAdapter

from weakspot.evaluation.confirmation import LEVEL, Evidence, Verdict
from weakspot.evaluation.contrasts import Contrast
from weakspot.explain.attributes import Accuracy, Distribution, Enrichment
from weakspot.explain.participants import Participant
from weakspot.explain.words import Word
from weakspot.findings.map import NO_MAP, MapKind, read_map, same_map
from weakspot.findings.numbers import count, examples, percent
from weakspot.findings.region_names import Condition
from weakspot.findings.typed_json import read_typed
from weakspot.methods.base import NearMiss
from weakspot.predictions import Predictions
from weakspot.predictions.atomic_files import atomic_file, writing
from weakspot.predictions.reading import read_parquet, reading
from weakspot.predictions.seals import add_seal, check_seal
from weakspot.slices import Slices
from weakspot.slices.statistics import AttributeShare, ConfusionCell, SliceStatistics

Mode = Literal["held_out", "other", "off", "too_few"]  # how findings were tested; see `Confirmation`

SCHEMA = 1
FILE = "findings.json"
MEMBERSHIPS = "memberships.parquet"
MAP = "map.parquet"

SHOWN = 24
"""How many examples of a finding or slice are shown, unless more are asked for."""

_REMEDY = "run discover.py again"
_WHOLE = 0.9  # share of what a name names that must lie inside, for the name to stand alone
_MEMBERSHIPS_SCHEMA = pa.schema(
    {"group": pa.string(), "number": pa.int64(), "row": pa.int64(), "id": pa.string(), "weight": pa.float64()}
)
_NO_MEMBERSHIPS: pa.Table = _MEMBERSHIPS_SCHEMA.empty_table()

MembershipGroup = tuple[Literal["finding", "slice"], int, np.ndarray, np.ndarray]
"""A finding or slice by its number, with the rows of its examples and their weights."""

PlainValue = str | float | int | bool | None


@dataclass(frozen=True)
class Example:
    """One example that is shown somewhere.

    Attributes:
        row: Its position in the predictions.
        id: Its id.
        label, prediction: Label and prediction as text; None where the predictions hold none.
        wrong: Whether the model is wrong on it; None where the predictions cannot tell.
        loss: Its loss; None where the predictions hold none.
        attributes: Its attributes as plain values.
        label_span, prediction_span: For question answering, the first character and the one after the last.
    """

    row: int
    id: str
    label: str | None
    prediction: str | None
    wrong: bool | None
    loss: float | None
    attributes: dict[str, PlainValue] = field(default_factory=dict)
    label_span: tuple[int, int] | None = None
    prediction_span: tuple[int, int] | None = None


@dataclass(frozen=True)
class GroupDescription:
    """Describes what a group of examples looks like; it proves nothing.

    Attributes:
        size: The sum of the weights, in examples.
        share: The share of all audited examples.
        members: How many examples have any weight.
        soft: Whether any weight lies strictly between 0 and 1.
        enrichment: Attribute values that are more common inside than outside, the most distinctive first.
        distributions: Every attribute's values, inside and outside.
        confusion: The weight by label and prediction, the heaviest first.
        words: Distinctive words, where the examples are texts.
        participants: Who rated and what was rated, where the examples are ratings.
        top: Rows of the examples of the highest weight; among equals the highest loss first (the lowest, where
            the best-served examples are sought).
        weights: The weight of each row in `top`.
    """

    size: float
    share: float
    members: int
    soft: bool
    enrichment: tuple[Enrichment, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    confusion: tuple[ConfusionCell, ...] = ()
    words: tuple[Word, ...] = ()
    participants: dict[str, tuple[Participant, ...]] = field(default_factory=dict)
    top: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Neighbour:
    """The well-served cluster nearest to a failing one.

    Attributes:
        senses: In which sense it is nearest: "embedding", "attributes" or both.
        size: Its size in examples.
        accuracy: Its accuracy.
        rows: Some of its members, those that the model gets right first.
    """

    senses: tuple[Literal["embedding", "attributes"], ...]
    size: float
    accuracy: float
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Slice:
    """One slice of the method, as it was found.

    Attributes:
        number: Its number from 1 on, in the method's order.
        name: The name that the method gives it: `Spotlight 1`.
        finding: The number of the finding that it is part of; None where it is not worse than the rest.
        evidence: The evidence of the held-out examples; where it was tested label by label, of its strongest part.
        statistics: Its statistics over all audited examples, those that it was found in included.
        portrait: What its examples look like.
        curves: The course of the search, thinned to a few hundred steps: steps and values of each curve by its name.
        neighbours: The well-served clusters nearest to it, where it is a failing cluster.
        stability: The mean Jaccard index of its top examples over refits on parts of the data; None unless asked for.
        error: The task's own measure (RMSE, MAE) of ratings and numbers, over the same examples as `statistics`.
        p_searched: In how many of all searches chance alone would find a slice as extreme in the examples that were
            searched; None where the method does not say. `evidence` is of held-out examples and does not use it.
    """

    number: int
    name: str
    finding: int | None
    evidence: Evidence
    statistics: SliceStatistics
    portrait: GroupDescription
    curves: dict[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    neighbours: tuple[Neighbour, ...] = ()
    stability: float | None = None
    error: Contrast | None = None
    p_searched: float | None = None


@dataclass(frozen=True)
class Finding:
    """A region of examples on which the model fails (or does best, where that is sought), with its evidence.

    Attributes:
        number: Its number from 1 on, most errors explained first.
        name: The subject of its sentence: `group = red_≥5`.
        sentence: What is claimed and how sure it is, in two or three sentences.
        verdict: confirmed, explained_by_label, not_confirmed, too_few or not_tested, as in `Evidence`.
        p: The p-value of the label-stratified rank test on held-out examples; None where nothing was tested.
        p_corrected: The same, corrected for how many were tested (Benjamini-Yekutieli).
        examples: How many examples it extends over.
        errors_explained: The share of all errors that lie in it: of all squared or absolute errors for ratings and
            numbers, of all loss where only losses are known, of all right answers where the best is sought.
        accuracy, loss, error: Inside and outside with the interval of the inside, on held-out examples where there
            are any. `error` is the task's own measure (RMSE, MAE) of ratings and numbers.
        parts: Numbers of the slices that it is made of.
        top_examples: The ids of its top examples, in the order of `portrait.top`.
        conditions: The conditions that name it, if attributes do.
        holds_for: The share of its examples for which the conditions hold.
        covers: The share of the examples for which the conditions hold that lie in it.
        labels: The labels that it is confined to; none where it is not.
        portrait: What its examples look like.
        held_out: How many held-out examples lie in it, on which `accuracy`, `loss` and `error` are measured; where
            weights or counts differ, as many as would say as much. None where nothing was tested, and in files of an
            earlier version.
    """

    number: int
    name: str
    sentence: str
    verdict: Verdict
    p: float | None
    p_corrected: float | None
    examples: float
    errors_explained: float | None
    accuracy: Contrast | None
    loss: Contrast | None
    error: Contrast | None
    parts: tuple[int, ...]
    top_examples: tuple[str, ...]
    conditions: tuple[Condition, ...]
    holds_for: float | None
    covers: float | None
    labels: tuple[str, ...]
    portrait: GroupDescription
    held_out: float | None = None

    @property
    def size(self) -> str:
        """How many examples it extends over, as a number to show: a whole one where it is confirmed, but never 0.

        How far a confirmed finding extends is an estimate, and decimals of it say nothing.
        """
        return count(round(self.examples) if self.confirmed and self.examples >= 1 else self.examples)

    @property
    def extent(self) -> str:
        """The same in words: `about 186 examples`, `12 examples`, `40 examples of weight 0.4 in all`.

        Where weights add up to less than one, it says how many examples they are of.
        """
        if 0 < self.examples < 1:
            return f"{examples(self.portrait.members)} of weight {self.size} in all"
        noun = "example" if self.size == "1" else "examples"
        return f"{'about ' if self.confirmed else ''}{self.size} {noun}"

    @property
    def subject(self) -> str:
        """The name, or the share of what it names that lies inside: `53 % of pen = felt`, not `pen = felt`."""
        if self.covers is None or self.covers >= _WHOLE:
            return self.name
        return f"{percent(self.covers)} of {self.name}"

    @property
    def confirmed(self) -> bool:
        """Whether it was confirmed on held-out examples."""
        return self.verdict == "confirmed"


@dataclass(frozen=True)
class ClassMetrics:
    """Holds how the model does on one class.

    Attributes:
        name: The class.
        examples: How many examples have it.
        predicted: How many are predicted to have it.
        precision, recall, f1: How well the two agree; None where there are no examples to say so.
    """

    name: str
    examples: float
    predicted: float
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class ClassPair:
    """Counts the examples that have two classes both, by label and by prediction, for tasks of several labels.

    Attributes:
        first, second: The positions of the classes in `whole.classes`.
        labels: How many examples have both as labels.
        predictions: How many are predicted to have both.
    """

    first: int
    second: int
    labels: float
    predictions: float


@dataclass(frozen=True)
class AuditedSet:
    """Summarises the audited set as a whole.

    Attributes:
        n: How many examples are audited (rows).
        examples: How many examples they stand for, where rows have counts; otherwise n.
        record: How many examples the predictions hold: more than n where one category is audited.
        errors: How many of the audited examples are wrong; None where the predictions cannot tell.
        accuracy, loss: Their accuracy and mean loss; None where the predictions do not hold them.
        error: The task's own measure, of ratings and numbers.
        measure: Its word: accuracy, rmse or mae.
        category: The audited category.
        category_f1: The category's F1 over all examples that the predictions hold.
        classes: How the model does on each class, over all examples that the predictions hold, where it predicts
            classes.
        pairs: Classes that occur together, among labels or predictions, for tasks of several labels; of very many pairs
            those that differ most between the two, and those of the most frequent classes.
        pairs_left_out: How many more pairs there are.
        weak_values: Attribute values with the lowest accuracy.
        left_out: Attributes that describe nothing, each with the reason.
        embedding_size: The width of the embeddings.
        counted: What every `errors_explained` is a share of, in words: "errors", "squared errors", "loss".
    """

    n: int
    examples: float
    record: int
    embedding_size: int
    errors: float | None
    accuracy: float | None
    loss: float | None
    error: float | None = None
    measure: str = "accuracy"
    category: str | None = None
    category_f1: float | None = None
    classes: tuple[ClassMetrics, ...] = ()
    pairs: tuple[ClassPair, ...] = ()
    pairs_left_out: int = 0
    weak_values: tuple[Accuracy, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    counted: str = "errors"


@dataclass(frozen=True)
class Confirmation:
    """Describes how the slices were tested.

    Attributes:
        mode: "held_out": on examples of the audited split that no slice was sought in; "other": on another split or
            other predictions; "off": not at all; "too_few": there were too few examples to set any aside.
        searched: How many examples the slices were sought in.
        tested: How many they were tested on.
        source: What was tested on, in words.
        level: The false discovery rate.
        explanation: The same in a sentence, for readers.
    """

    mode: Mode
    searched: int
    tested: int
    source: str
    level: float
    explanation: str


@dataclass(frozen=True)
class Cluster:
    """A node of the cluster tree. The tree is a list of nodes, parents first, and `parent` is a position in that list.

    Attributes:
        id: The number of the node in the linkage.
        slice: The number of the slice that a failing cluster is.
        clusters: How many clusters of the cut a leaf holds.
        rows: Some members of a leaf, the wrong ones first.
    """

    id: int
    parent: int | None
    depth: int
    size: float
    wrong: float
    accuracy: float
    loss: float | None
    confidence: float | None
    f1: float | None
    top_attributes: tuple[AttributeShare, ...]
    failing: bool
    slice: int | None
    leaf: bool
    clusters: int
    rows: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Findings:
    """Holds all that was found in one run; `Findings.build` makes it.

    Attributes:
        schema: Version of `findings.json`.
        method: The method's word.
        seeks: Whether it looks for examples that the model does worse on, or better.
        title: The headline: what was found, or that nothing reliable was.
        whole: The audited set.
        confirmation: How the slices were tested.
        findings: All findings, confirmed or not, most errors explained first.
        slices: Every slice of the method, in its order.
        examples: Every example that is shown somewhere, by row.
        clusters: The cluster tree, for methods that have one.
        cut_scores: The numbers of clusters that were scored, each with its silhouette.
        near_misses: Where the method found no slice, what came nearest to being one; `node` is a cluster's `id`.
        notes: Words of caution.
        reads_attributes: Whether the method reads attributes, which for any other only describe what was found; True
            for a method that is not known here, False in files of an earlier version.
        dataset, model, split, command, created: What was audited, by which command line, and when.
        provenance: The method's settings and the provenance of the predictions, as slices record it.
        memberships: The table (group, number, row, id, weight) of every example of every finding and slice.
        map: The table of where every audited example lies on a map, and what is known of it
            (`weakspot.findings.map.build_map`); empty where there is no map.
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
    memberships: pa.Table = field(default_factory=lambda: _NO_MEMBERSHIPS)
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

        Slices are tested on examples that they were not found in, within labels; and group by group, where the search
        kept a group on one side or the predictions name one. What is confirmed is extended as far as errors stay more
        common than beyond, and what lies in one place is merged into one finding.

        Args:
            predictions: The n examples that the slices are described over.
            slices: What a method found, with a weight for each of these examples.
            confirm: What to test on: a mask (n,) of the rows of `predictions` that no slice was sought in (all False
                means that too few examples could be set aside, all True that the slices were found elsewhere), or other
                predictions of the same model. None tests nothing.
            searched: How many examples the slices were sought in, where these are not among `predictions`.
            source: What is tested on, in words, for whoever reads the findings; or why nothing is tested.
            hide: Names of attributes that restate the target (on the command line `dataset.hide`): they neither name
                nor describe a finding. Those that go with the label one to one are left out anyway.
            texts: What is written in each example, for its words.
            stability: The stability of every slice, if it was measured.
            notes: Words of caution, in addition to the method's own.
            command: The command line that made the slices.
            created: When the findings were made; now by default.
            level: The false discovery rate of what is confirmed.
            seed: Of samples, permutations and halvings.
            members: How many top examples of each finding and slice are kept; "all" describes every other member, too.
            projection: How the map of the examples is made; "none" makes no map.

        Returns:
            The findings.

        Raises:
            ImportError: If the map needs a library that is missing.
            TypeError: If `slices` are none, or `hide` is one text.
            ValueError: If the slices were found in other predictions, lengths differ, nothing tells a good example from
                a bad one, or what `confirm` gives cannot test these slices.
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
        """Return whether these are the slices that the findings were built of, by their members and weights."""
        if slices.method != self.method or len(slices) != len(self.slices):
            return False
        own = self.memberships.filter(pc.equal(self.memberships["group"], "slice"))
        same: bool = own.equals(memberships_table([*groups_of_slices(slices)], slices.ids))
        return same

    def save(self, folder: str | Path) -> Path:
        """Write `findings.json` and its tables into `folder`; each appears whole or not at all.

        The tables are `memberships.parquet` and, where there is a map, `map.parquet`.

        Args:
            folder: A run's folder; made where it is missing.

        Returns:
            The path of `findings.json`.

        Raises:
            OSError: If the disk is full or refuses, in a sentence that says what to do.
        """
        folder = Path(folder)
        text = _ADAPTER.dump_json(self, indent=1, exclude=_TABLES)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            tables = {MEMBERSHIPS: self.memberships} | ({MAP: self.map} if self.map.num_rows else {})
            for name, table in tables.items():
                with atomic_file(folder / name) as draft:
                    pq.write_table(table, draft)
            with atomic_file(folder / FILE) as draft:  # the last: where it is, the tables are
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
            FileNotFoundError: If the folder holds no findings, or lacks a file of theirs.
            DamagedError: If a file cannot be read, or a field has a value that it cannot have; it names the file.
            ValueError: If the findings are of another schema than this version reads.
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
            memberships=_read_memberships(folder / MEMBERSHIPS),
            map=read_map(folder / MAP) if mapped else NO_MAP,
        )


def groups_of_slices(slices: Slices) -> Iterator[MembershipGroup]:
    """Yield every slice's group of `Findings.memberships`."""
    for j, weights in enumerate(slices.weights):
        inside = np.flatnonzero(weights > 0)
        yield "slice", j + 1, inside, np.asarray(weights[inside], dtype=np.float64)


def memberships_table(groups: Sequence[MembershipGroup], ids: Shaped[np.ndarray, " n"]) -> pa.Table:
    """Make the table of `Findings.memberships`.

    Args:
        groups: The findings and slices, in order.
        ids: (n,) the ids of all examples.
    """
    rows = np.concatenate([group[2] for group in groups]) if groups else np.empty(0, dtype=np.int64)
    lengths = [len(group[2]) for group in groups]
    columns = {
        "group": np.repeat(np.array([group[0] for group in groups], dtype=object), lengths),
        "number": np.repeat(np.array([group[1] for group in groups], dtype=np.int64), lengths),
        "row": rows,
        "id": np.asarray(ids)[rows],
        "weight": np.concatenate([group[3] for group in groups]) if groups else np.empty(0),
    }
    return pa.table(columns, schema=_MEMBERSHIPS_SCHEMA)


def _read_memberships(path: Path) -> pa.Table:
    table = read_parquet(path)
    with reading(path):
        return table.select(_MEMBERSHIPS_SCHEMA.names).cast(_MEMBERSHIPS_SCHEMA)


_ADAPTER = TypeAdapter(Findings)
_TABLES = {"memberships", "map"}  # kept beside the JSON
