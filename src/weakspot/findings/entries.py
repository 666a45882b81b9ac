"""The parts of `Findings`: plain records of a few facts each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from weakspot.evaluation.confirmation import Evidence
from weakspot.evaluation.contrasts import Contrast
from weakspot.explain.attributes import Accuracy, Distribution, Enrichment, MeanError
from weakspot.explain.participants import Participant
from weakspot.explain.words import Word
from weakspot.slices.statistics import AttributeShare, ConfusionCell, SliceStatistics

Mode = Literal["held_out", "other", "off", "too_few"]  # how findings were tested; see `Confirmation`

PlainValue = str | float | int | bool | None


@dataclass(frozen=True)
class Example:
    """One example that is shown somewhere.

    Attributes:
        row: Its position in the predictions.
        id: Its id.
        label, prediction: Label and prediction as text; None if the predictions hold none.
        wrong: Whether the model is wrong on it; None if the predictions do not record it.
        loss: Its loss; None if the predictions hold none.
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
class Portrait:
    """Describes what a group of examples looks like; it proves nothing.

    Attributes:
        size: The sum of the weights, in examples.
        share: The share of all audited examples.
        members: How many examples have any weight.
        soft: Whether any weight lies strictly between 0 and 1.
        enrichment: Attribute values that are more common inside than outside, the most distinctive first.
        distributions: Every attribute's values, inside and outside.
        confusion: The weight by label and prediction, the largest first.
        words: Distinctive words, if the examples are texts.
        participants: Who rated and what was rated, if the examples are ratings.
        top: Rows of the examples with the highest weights, at least half of the largest; among equals the highest loss
            first (the lowest, if the best-served examples are searched for).
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

    def weights_to_show(self, most: int) -> tuple[float, ...] | None:
        """Return the weights of the first top examples, or None if all of these have weight 1."""
        weights = self.weights[:most]
        return weights if any(weight < 1 for weight in weights) else None


@dataclass(frozen=True)
class Neighbour:
    """The well-served cluster nearest to a failing one.

    Attributes:
        senses: In which sense it is nearest: "embedding", "attributes" or both.
        size: Its size in examples.
        accuracy: Its accuracy.
        rows: Some of its members, starting with those that the model gets right.
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
        finding: The number of the finding that it is part of; None if it is not worse than the rest.
        evidence: The evidence on the held-out examples; if it was tested label by label, that of its strongest part.
        statistics: Its statistics over all audited examples, including those that it was found in.
        portrait: What its examples look like.
        curves: The course of the search, thinned to a few hundred steps: steps and values of each curve by its name.
        neighbours: The well-served clusters nearest to it, if it is a failing cluster.
        stability: The mean Jaccard index of its top examples over refits on parts of the data; None unless asked for.
        error: The task's own measure (RMSE, MAE) for ratings and numbers, over the same examples as `statistics`.
        p_searched: The share of searches in which chance alone would find a slice as extreme among the searched
            examples; None if the method does not compute it. `evidence` is about held-out examples and does not use it.
    """

    number: int
    name: str
    finding: int | None
    evidence: Evidence
    statistics: SliceStatistics
    portrait: Portrait
    curves: dict[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    neighbours: tuple[Neighbour, ...] = ()
    stability: float | None = None
    error: Contrast | None = None
    p_searched: float | None = None


@dataclass(frozen=True)
class ClassMetrics:
    """Holds how the model does on one class.

    Attributes:
        name: The class.
        examples: How many examples have it.
        predicted: How many are predicted to have it.
        precision, recall, f1: How well the two agree; None if there are no examples to compute it from.
    """

    name: str
    examples: float
    predicted: float
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class ClassPair:
    """Counts the examples that have both of two classes, by label and by prediction, for multilabel tasks.

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
        examples: How many examples they stand for, if rows have counts; otherwise n.
        record: How many examples the predictions hold: more than n if one category is audited.
        errors: How many of the audited examples are wrong; None if the predictions do not record it.
        accuracy, loss: Their accuracy and mean loss; None if the predictions do not hold them.
        error: The task's own measure, for ratings and numbers.
        measure: The name of the measure: accuracy, rmse or mae.
        category: The audited category.
        category_f1: The category's F1 over all examples that the predictions hold.
        classes: How the model does on each class, over all examples that the predictions hold, if it predicts classes.
        pairs: Classes that occur together, among labels or predictions, for multilabel tasks; if there are very many
            pairs, those that differ most between labels and predictions, and those of the most frequent classes.
        pairs_left_out: How many more pairs there are.
        weak_values: Attribute values with the lowest accuracy.
        values_of_large_error: Attribute values with the largest error, for ratings and numbers; empty in files of an
            earlier version.
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
    values_of_large_error: tuple[MeanError, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    counted: str = "errors"


@dataclass(frozen=True)
class Confirmation:
    """Describes how the slices were tested.

    Attributes:
        mode: "held_out": on examples of the audited split that were not searched for slices; "other": on another split
            or other predictions; "off": not at all; "too_few": there were too few examples to set any aside.
        searched: How many examples were searched for slices.
        tested: How many they were tested on.
        source: The tested examples in words, as in `tested_on`; if none were tested, the sentence that says why, as in
            `untested_because`, or an empty text.
        level: The false discovery rate.
        explanation: The same in a sentence, for readers.
        on_others: Whether the tested examples are not among those described; a finding's accuracy is then measured on
            other examples than its extent and its share of the errors.
    """

    mode: Mode
    searched: int
    tested: int
    source: str
    level: float
    explanation: str
    on_others: bool = False

    @property
    def tested_on(self) -> str:
        """The tested examples in words; "" if none were tested, or if no source was given."""
        return self.source if self.tested else ""

    @property
    def untested_because(self) -> str:
        """The sentence that says why nothing was tested; "" if something was, or if no reason was given."""
        return "" if self.tested else self.source


@dataclass(frozen=True)
class Cluster:
    """A node of the cluster tree. The tree is a list of nodes, parents first, and `parent` is a position in that list.

    Attributes:
        id: The number of the node in the linkage.
        slice: The number of its slice, for a failing cluster.
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
