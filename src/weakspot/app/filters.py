"""Filters of a run's examples, read from a URL's query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int
from starlette.datastructures import QueryParams

from weakspot.app.lasso import Lasso
from weakspot.app.loaded_runs import LoadedRun

_OPERATORS = {">=": "at least", "<": "below", "=": "is"}  # the longest first, so that >= is not read as =
_MAX_LENGTH = 1000  # characters of a value


@dataclass(frozen=True)
class AttributeCondition:
    """A condition on an attribute: `colour=red`, `age>=30`."""

    attribute: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.attribute}{self.operator}{self.value}"

    @property
    def description(self) -> str:
        """The condition in words."""
        return f"{self.attribute} {_OPERATORS[self.operator]} {self.value}"


@dataclass(frozen=True)
class Filter:
    """Criteria for examples; an empty criterion admits all examples.

    Attributes:
        search: A string to find in the id or the text.
        conditions: Conditions on attributes.
        label: The name of the label's class.
        prediction: The name of the predicted class.
        outcome: `wrong` or `right`.
        group: A finding, a slice or a node of the tree: `finding-1`, `slice-2`, `node-680`.
        lasso: A region of the map.
        rows: `searched` or `held`, if some examples are held out.
    """

    search: str = ""
    conditions: tuple[AttributeCondition, ...] = ()
    label: str = ""
    prediction: str = ""
    outcome: str = ""
    group: str = ""
    lasso: Lasso | None = None
    rows: str = ""

    @classmethod
    def from_query(cls, query: QueryParams, loaded: LoadedRun) -> Filter:
        """Read the criteria from a URL's query.

        Args:
            query: The query.
            loaded: The run whose examples are filtered.

        Raises:
            ValueError: If the query names something that the run does not have.
        """
        fields = {
            name: query.get(name, "")[:_MAX_LENGTH] for name in ("search", "label", "prediction", "outcome")
        }
        conditions = [_parse_condition(text[:_MAX_LENGTH], loaded) for text in query.getlist("where")]
        name = _chosen_attribute(query, loaded)
        if name is not None and query.get("value", "") != "":
            text = f"{name}{query.get('operator', '=')}{query['value']}"
            conditions.append(_parse_condition(text[:_MAX_LENGTH], loaded))
        if fields["outcome"] not in ("", "wrong", "right"):
            raise ValueError(f"outcome={fields['outcome']} is neither wrong nor right")
        rows = query.get("rows", loaded.first_shown)
        if rows not in ("", "all", "searched", "held"):
            raise ValueError(f"rows={rows} is neither all, nor searched, nor held")
        return cls(
            **fields,
            conditions=tuple(dict.fromkeys(conditions)),
            group=query.get("in", "")[:_MAX_LENGTH],
            lasso=Lasso.parse(query["lasso"]) if query.get("lasso") else None,
            rows="" if rows == "all" else rows,
        )

    def mask(self, loaded: LoadedRun, texts: Sequence[str] | None = None) -> Bool[np.ndarray, " n"]:
        """Return which examples meet all criteria.

        Args:
            loaded: The run.
            texts: The text of every row, if the examples are texts.

        Returns:
            (n,) true for examples that meet all criteria.

        Raises:
            ValueError: If the run has no such group or no map, or a value is not a number.
        """
        p, mask = loaded.predictions, np.ones(len(loaded), dtype=bool)
        for condition in self.conditions:
            mask &= _satisfies(condition, loaded.attributes)
        if self.search:
            letters = self.search.lower()
            mask &= np.array(
                [
                    letters in str(id).lower() or (texts is not None and letters in texts[row].lower())
                    for row, id in enumerate(p.ids)
                ]
            )
        for wanted, values in ((self.label, p.labels), (self.prediction, p.predictions)):
            if wanted:
                mask &= _has_class(wanted, values, loaded)
        if self.outcome:
            if p.correct is None:
                raise ValueError("These predictions do not say which examples are wrong.")
            mask &= np.asarray(p.correct, dtype=bool) == (self.outcome == "right")
        if self.group:
            mask &= self._in_group(loaded)
        if self.lasso is not None:
            if loaded.map_positions is None:
                raise ValueError("This run has no map, so a lasso cannot select examples.")
            mask &= self.lasso.contains(loaded.map_positions)
        if self.rows:
            mask &= loaded.searched == (self.rows == "searched")
        return mask

    def order(self, loaded: LoadedRun, mask: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """Return the rows of a mask in the order in which they are shown.

        In a finding or slice, the highest membership comes first; otherwise the highest loss.

        Args:
            loaded: The run.
            mask: (n,) the examples that meet the criteria.

        Returns:
            (m,) rows.
        """
        if self.group in loaded.groups:
            rows = loaded.groups[self.group][1]
            return np.asarray(rows[mask[rows]])
        rows = np.flatnonzero(mask)
        losses = loaded.predictions.losses
        if losses is None:
            return rows
        return np.asarray(rows[np.argsort(-np.asarray(losses)[rows], kind="stable")])

    @property
    def is_definition(self) -> bool:
        """Whether the criteria describe the examples and not how the model performs on them: only such a slice can
        be tested.
        """
        criteria = self.search or self.conditions or self.label or self.lasso
        return bool(criteria) and not (self.prediction or self.outcome or self.group)

    @property
    def description(self) -> str:
        """The criteria in words."""
        parts = [condition.description for condition in self.conditions]
        parts += [f"label is {self.label}"] if self.label else []
        parts += [f"prediction is {self.prediction}"] if self.prediction else []
        parts += [self.outcome] if self.outcome else []
        parts += [f"“{self.search}” in the id or text"] if self.search else []
        parts += ["inside a lasso on the map"] if self.lasso else []
        return ", ".join(parts)

    def without(self, condition: AttributeCondition) -> Filter:
        """Return the filter without one condition."""
        return replace(self, conditions=tuple(other for other in self.conditions if other != condition))

    @property
    def without_lasso(self) -> Filter:
        """The filter without its lasso."""
        return replace(self, lasso=None)

    @property
    def query(self) -> str:
        """The filter as a URL's query."""
        fields = [("search", self.search), ("label", self.label), ("prediction", self.prediction)]
        fields += [("outcome", self.outcome), ("in", self.group), ("rows", self.rows or "all")]
        fields += [("where", str(condition)) for condition in self.conditions]
        fields += [("lasso", str(self.lasso))] if self.lasso else []
        return urlencode([(name, value) for name, value in fields if value])

    def _in_group(self, loaded: LoadedRun) -> Bool[np.ndarray, " n"]:
        inside = np.zeros(len(loaded), dtype=bool)
        kind, _, number = self.group.partition("-")
        if kind == "node" and loaded.tree is not None and number.isdecimal() and len(number) < 16:
            node = loaded.tree.node(int(number))
            if node is not None:
                inside[[row for row, _ in loaded.tree.members(node)]] = True
                return inside
        if self.group not in loaded.groups:
            raise ValueError(f"in={self.group} is not a finding, slice or node of this run")
        inside[loaded.groups[self.group][1]] = True
        return inside


def _has_class(name: str, values: np.ndarray | None, loaded: LoadedRun) -> Bool[np.ndarray, " n"]:
    """Return which examples have a class, as the only one or as one of several."""
    classes = loaded.predictions.classes()
    if values is None or name not in classes:
        raise ValueError(f"“{name[:100]}” is not a class of this run")
    column = values[:, classes.index(name)] > 0 if values.ndim == 2 else values == classes.index(name)
    return np.asarray(column)


def _chosen_attribute(query: QueryParams, loaded: LoadedRun) -> str | None:
    """Return the attribute that a query names: `column`, its position as in the form, or `attribute`, its name."""
    column = query.get("column", "")
    names: list[str] = loaded.attributes.column_names
    if not column:
        return query.get("attribute") or None
    if not (column.isdecimal() and len(column) < 10 and int(column) < len(names)):
        raise ValueError(f"column={column[:100]} is not the position of an attribute of this run")
    return names[int(column)]


def _parse_condition(text: str, loaded: LoadedRun) -> AttributeCondition:
    """Parse a condition; the longest attribute name that fits is taken, because names may contain operators.

    A browser changes the line breaks in the fields of a form, so a name also fits if it differs in these alone.
    """
    names = sorted(loaded.attributes.column_names, key=len, reverse=True)
    same_breaks = _with_same_breaks(text)
    for name, beginning, whole in (
        *((name, name, text) for name in names),
        *((name, _with_same_breaks(name), same_breaks) for name in names),
    ):
        rest = whole.removeprefix(beginning) if whole.startswith(beginning) else ""
        for operator in _OPERATORS:
            if rest.startswith(operator):
                return AttributeCondition(name, operator, rest.removeprefix(operator))
    raise ValueError(
        f"“{text[:100]}” is not a condition on an attribute of this run (colour=red, age>=30, age<60)"
    )


def _with_same_breaks(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _satisfies(condition: AttributeCondition, attributes: pa.Table) -> Bool[np.ndarray, " n"]:
    """Return which examples satisfy a condition."""
    column = attributes[condition.attribute]
    if condition.operator == "=":
        wanted = _with_same_breaks(condition.value)
        return np.array([_with_same_breaks(str(value)) == wanted for value in column.to_pylist()])
    try:
        edge = float(condition.value)
        values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    except (ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"“{condition}” compares values that are not numbers") from error
    with np.errstate(invalid="ignore"):
        return np.asarray(values >= edge if condition.operator == ">=" else values < edge)
