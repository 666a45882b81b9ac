"""Which examples of a run are asked for, as an address says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int
from starlette.datastructures import QueryParams

from weakspot.app.lasso import Lasso
from weakspot.app.records import Record

_OPERATORS = {">=": "at least", "<": "below", "=": "is"}  # the longest first
_LONGEST = 1000  # characters of a value


@dataclass(frozen=True)
class Condition:
    """What an attribute must be: `colour=red`, `age>=30`."""

    attribute: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.attribute}{self.operator}{self.value}"

    @property
    def words(self) -> str:
        """As a person reads it."""
        return f"{self.attribute} {_OPERATORS[self.operator]} {self.value}"


@dataclass(frozen=True)
class Filter:
    """What is asked for; every part that is empty admits all.

    Attributes:
        search: Letters in the id or the text.
        conditions: On attributes.
        label, prediction: As a person reads them.
        outcome: wrong or right.
        group: A finding, a slice or a node of the tree: `finding-1`, `slice-2`, `node-680`.
        lasso: A part of the map.
        rows: searched or held, where some examples are held out.
    """

    search: str = ""
    conditions: tuple[Condition, ...] = ()
    label: str = ""
    prediction: str = ""
    outcome: str = ""
    group: str = ""
    lasso: Lasso | None = None
    rows: str = ""

    @classmethod
    def read(cls, words: QueryParams, record: Record) -> Filter:
        """What an address asks for.

        Raises:
            ValueError: Where it names what the run has not.
        """
        said = {name: words.get(name, "")[:_LONGEST] for name in ("search", "label", "prediction", "outcome")}
        conditions = [_condition(text[:_LONGEST], record) for text in words.getlist("where")]
        if words.get("attribute") and words.get("value", "") != "":
            text = f"{words['attribute']}{words.get('operator', '=')}{words['value']}"
            conditions.append(_condition(text[:_LONGEST], record))
        if said["outcome"] not in ("", "wrong", "right"):
            raise ValueError(f"outcome={said['outcome']} is neither wrong nor right")
        rows = words.get("rows", "searched" if record.splits else "")
        if rows not in ("", "all", "searched", "held"):
            raise ValueError(f"rows={rows} is neither all, nor searched, nor held")
        return cls(
            **said,
            conditions=tuple(dict.fromkeys(conditions)),
            group=words.get("in", "")[:_LONGEST],
            lasso=Lasso.read(words["lasso"]) if words.get("lasso") else None,
            rows="" if rows == "all" else rows,
        )

    def mask(self, record: Record, texts: Mapping[int, str] | None = None) -> Bool[np.ndarray, " n"]:
        """Which examples those are.

        Args:
            record: Whose.
            texts: Of every row, where examples are texts.

        Raises:
            ValueError: Where the run has no such group or no map, or a value is no number.
        """
        p, found = record.predictions, np.ones(len(record), dtype=bool)
        for condition in self.conditions:
            found &= _satisfying(condition, record.attributes)
        if self.search:
            letters = self.search.lower()
            found &= np.array(
                [
                    letters in str(id).lower() or (texts is not None and letters in texts[row].lower())
                    for row, id in enumerate(p.ids)
                ]
            )
        for wanted, values in ((self.label, p.labels), (self.prediction, p.predictions)):
            if wanted:
                found &= _of_class(wanted, values, record)
        if self.outcome:
            if p.correct is None:
                raise ValueError("This record cannot tell wrong from right.")
            found &= np.asarray(p.correct, dtype=bool) == (self.outcome == "right")
        if self.group:
            found &= self._in_group(record)
        if self.lasso is not None:
            if record.at is None:
                raise ValueError("This run has no map, so no lasso holds any of its examples.")
            found &= self.lasso.holds(record.at)
        if self.rows:
            found &= record.searched == (self.rows == "searched")
        return found

    def order(self, record: Record, mask: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """The rows found, as they are shown: of a finding or slice the heaviest first, else the highest loss."""
        if self.group in record.groups:
            rows = record.groups[self.group][1]
            return np.asarray(rows[mask[rows]])
        rows = np.flatnonzero(mask)
        losses = record.predictions.losses
        if losses is None:
            return rows
        return np.asarray(rows[np.argsort(-np.asarray(losses)[rows], kind="stable")])

    @property
    def defines(self) -> bool:
        """Whether it says what examples are, not how the model does on them: only then can a slice be tested."""
        asked = self.search or self.conditions or self.label or self.lasso
        return bool(asked) and not (self.prediction or self.outcome or self.group)

    @property
    def words(self) -> str:
        """What is asked for, as a person reads it."""
        parts = [condition.words for condition in self.conditions]
        parts += [f"label is {self.label}"] if self.label else []
        parts += [f"prediction is {self.prediction}"] if self.prediction else []
        parts += [self.outcome] if self.outcome else []
        parts += [f"“{self.search}” in the id or text"] if self.search else []
        parts += ["inside a lasso on the map"] if self.lasso else []
        return ", ".join(parts)

    def without(self, condition: Condition) -> Filter:
        return replace(self, conditions=tuple(one for one in self.conditions if one != condition))

    @property
    def without_lasso(self) -> Filter:
        return replace(self, lasso=None)

    @property
    def query(self) -> str:
        """It as an address says it."""
        said = [("search", self.search), ("label", self.label), ("prediction", self.prediction)]
        said += [("outcome", self.outcome), ("in", self.group), ("rows", self.rows or "all")]
        said += [("where", str(condition)) for condition in self.conditions]
        said += [("lasso", str(self.lasso))] if self.lasso else []
        return urlencode([(name, value) for name, value in said if value])

    def _in_group(self, record: Record) -> Bool[np.ndarray, " n"]:
        inside = np.zeros(len(record), dtype=bool)
        kind, _, number = self.group.partition("-")
        if kind == "node" and record.tree is not None and number.isdecimal() and len(number) < 16:
            node = record.tree.node(int(number))
            if node is not None:
                inside[[row for row, _ in record.tree.members(node)]] = True
                return inside
        if self.group not in record.groups:
            raise ValueError(f"in={self.group} is no finding, slice or node of this run")
        inside[record.groups[self.group][1]] = True
        return inside


def _of_class(name: str, values: np.ndarray | None, record: Record) -> Bool[np.ndarray, " n"]:
    """Which examples have a class: it alone, or among several."""
    classes = record.predictions.classes()
    if values is None or name not in classes:
        raise ValueError(f"“{name[:100]}” is no class of this run")
    column = values[:, classes.index(name)] > 0 if values.ndim == 2 else values == classes.index(name)
    return np.asarray(column)


def _condition(text: str, record: Record) -> Condition:
    """A condition on the attribute with the longest name that fits: names may hold signs, too."""
    for name in sorted(record.attributes.column_names, key=len, reverse=True):
        rest = text.removeprefix(name) if text.startswith(name) else ""
        for operator in _OPERATORS:
            if rest.startswith(operator):
                return Condition(name, operator, rest.removeprefix(operator))
    raise ValueError(
        f"“{text[:100]}” is no condition on an attribute of this run (colour=red, age>=30, age<60)"
    )


def _satisfying(condition: Condition, attributes: pa.Table) -> Bool[np.ndarray, " n"]:
    column = attributes[condition.attribute]
    if condition.operator == "=":
        return np.array([str(value) == condition.value for value in column.to_pylist()])
    try:
        edge = float(condition.value)
        values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    except (ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"“{condition}” compares what is no number") from error
    with np.errstate(invalid="ignore"):
        return np.asarray(values >= edge if condition.operator == ">=" else values < edge)
