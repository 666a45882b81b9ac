"""From tested slices to regions: extended as far as errors stay commoner, and made one where they are one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_array

from weakspot.evaluation.confirmation import Evidence
from weakspot.findings.extent import Rates, Space, extend, honest_rows
from weakspot.findings.naming import Description
from weakspot.findings.units import Examined, Unit, fails_more

_SAME_PLACE = 0.5  # share of the smaller of two regions that lies in the other
_AS_LIKELY = (
    0.95  # of the likelihood of a slice's labels apart that all of them together must have to stay one
)

_ORDER = {"confirmed": 0, "explained_by_label": 1, "not_confirmed": 2, "too_few": 3}


@dataclass(frozen=True, eq=False)
class Region:
    """A place in embedding space, perhaps of some labels only, with what was found there.

    Attributes:
        parts: Positions of the slices that it is made of, the leading one first.
        labels: Codes of the labels that it is confined to; none if it is not.
        here: (1, r) membership of the described examples: 1 within the extent of a confirmed region, else those of
            its slice. It is sparse, for there may be hundreds of regions.
        there: (1, m) membership of the tested examples: those of its slice, or (where its extent has been found) 1 for
            examples that lie in it by a threshold which their own errors had no part in.
        evidence: The strongest of its parts'.
        likelihood: Log likelihood ratio of the extent of a confirmed region.
        description: What attributes name it by.
    """

    parts: tuple[int, ...]
    labels: tuple[int, ...]
    here: csr_array
    there: csr_array
    evidence: Evidence
    likelihood: float = 0.0
    description: Description | None = None

    @property
    def weights(self) -> Float[np.ndarray, " r"]:
        """Membership of the described examples."""
        w: np.ndarray = self.here.toarray()[0]
        return w

    @property
    def tested(self) -> Float[np.ndarray, " m"]:
        """Membership of the tested examples."""
        w: np.ndarray = self.there.toarray()[0]
        return w

    @property
    def confirmed(self) -> bool:
        return self.evidence.verdict == "confirmed"


def find_regions(
    tested_units: Sequence[tuple[Unit, Evidence]],
    here: Examined,
    there: Examined,
    searched: Bool[np.ndarray, " r"],
    describe: Callable[[Region], Description | None],
    test: Callable[[Region, Examined], Evidence],
    seed: int,
) -> list[Region]:
    """Regions of the units that are worse than the rest: confirmed ones extended and merged, the others as they are.

    Confirmed units are extended. They are one region where their extents share most of the smaller one, where they
    are the labels of one slice and as likely together as apart, where attributes name them alike whatever their
    labels, and where one is worse than the rest only because of what it shares with a likelier one. A unit that was
    not confirmed, but lies mostly in a confirmed region, is a part of it.

    Args:
        tested_units: Units that are worse than the rest, each with its evidence.
        here: What the slices are described over.
        there: What they were tested on.
        searched: The described examples that they were sought in.
        describe: Names a region by attributes.
        test: The evidence of a region on some of the tested examples.
        seed: Of samples.

    Returns:
        The regions, each with its description.
    """
    sure = [_alone(unit, e) for unit, e in tested_units if e.verdict == "confirmed"]
    found: list[Region] = []
    if sure:
        grow = _Growth(Space(here.embeddings, there.embeddings, seed), here, there, searched)
        found = _united(_whole_slices([grow(region) for region in sure], grow), grow)
        found = _standing_alone(found, there, test)
        found = _united_by_name(found, describe, grow)
    doubtful: list[Region] = []
    for unit, e in tested_units:
        if e.verdict == "confirmed":
            continue
        region = _alone(unit, e)
        for regions in (found, doubtful):
            home = next((i for i, other in enumerate(regions) if _lies_in(region, other)), None)
            if home is not None:
                regions[home] = _joining(regions[home], region)
                break
        else:
            doubtful.append(region)
    return [*found, *(replace(region, description=describe(region)) for region in doubtful)]


def _alone(unit: Unit, evidence: Evidence) -> Region:
    return Region((unit.slice,), unit.labels, _kept(unit.described), _kept(unit.tested), evidence)


def _kept(weights: Float[np.ndarray, " n"]) -> csr_array:
    return csr_array(weights[None])


def _whole_slices(regions: Sequence[Region], grow: _Growth) -> list[Region]:
    """Extended regions, the labels of one slice made one where that is as likely: the failure knows no label then."""
    by_slice: dict[tuple[int, ...], list[Region]] = {}
    for region in regions:
        by_slice.setdefault(region.parts, []).append(region)
    found = []
    for group in by_slice.values():
        apart = sum(region.likelihood for region in group)
        if len(group) > 1:
            together = grow(_together(group, ()))
            if together.likelihood >= _AS_LIKELY * apart:
                found.append(together)
                continue
        found.extend(group)
    return found


def _united(regions: Sequence[Region], grow: _Growth) -> list[Region]:
    """Extended regions, likeliest first, those that share most of the smaller one made one and extended anew."""
    found: list[Region] = []
    grown: set[int] = set()
    for region in sorted(regions, key=lambda region: -region.likelihood):
        same = next((i for i, other in enumerate(found) if overlap(other, region) >= _SAME_PLACE), None)
        if same is None:
            found.append(region)
        else:
            found[same] = _together((found[same], region), found[same].labels)
            grown.add(same)
    return [grow(region) if i in grown else region for i, region in enumerate(found)]


def _standing_alone(
    regions: Sequence[Region], there: Examined, test: Callable[[Region, Examined], Evidence]
) -> list[Region]:
    """Regions that are worse than the rest also without the examples that they share with likelier ones.

    The others are parts of the one that they share most with.
    """
    found: list[Region] = []
    for region in sorted(regions, key=lambda region: -region.likelihood):
        shared = [float(region.there.minimum(other.there).sum()) for other in found]
        if not any(shared):
            found.append(region)
            continue
        apart = reduce(csr_array.maximum, (other.there for other in found)).toarray()[0] == 0
        left = replace(region, there=region.there[:, apart])
        if left.there.nnz and test(left, there.take(apart)).verdict == "confirmed":
            found.append(region)
        else:
            home = int(np.argmax(shared))
            found[home] = replace(found[home], parts=_joined(found[home].parts, region.parts))
    return found


def _united_by_name(
    regions: Sequence[Region], describe: Callable[[Region], Description | None], grow: _Growth
) -> list[Region]:
    """Regions with their descriptions, those of one name made one: dark cats and dark dogs are dark images."""
    by_name: dict[object, list[Region]] = {}
    for i, region in enumerate(regions):
        named = replace(region, description=describe(region))
        said = named.description
        subject = () if said is None else tuple(c.topic for c in said.conditions if not c.of_label)
        by_name.setdefault(subject or i, []).append(named)
    found = []
    for group in by_name.values():
        if len(group) == 1:
            found.append(group[0])
        else:
            labels = tuple(sorted({label for region in group for label in region.labels}))
            one = grow(_together(group, labels if all(region.labels for region in group) else ()))
            found.append(replace(one, description=describe(one)))
    return found


def _together(regions: Sequence[Region], labels: tuple[int, ...]) -> Region:
    """Regions as one, of the strongest one's evidence."""
    return Region(
        parts=_joined(*(region.parts for region in regions)),
        labels=labels,
        here=reduce(csr_array.maximum, (region.here for region in regions)),
        there=reduce(csr_array.maximum, (region.there for region in regions)),
        evidence=reduce(stronger, (region.evidence for region in regions)),
        likelihood=max(region.likelihood for region in regions),
    )


@dataclass(frozen=True, eq=False)
class _Growth:
    """Extends regions over the examples at hand."""

    space: Space
    here: Examined
    there: Examined
    searched: Bool[np.ndarray, " r"]

    def __call__(self, region: Region) -> Region:
        """A region whose extent is found from all that it holds; as it is, where the extent loses sight of it.

        That is so where the embedding does not tell its members from the others (a slice of another tool's, say), and
        where the extent is no worse than the rest on the tested examples.
        It is sought from all members and from those of high weight.
        """
        population = self.there.of_labels(region.labels)
        own = self.here.of_labels(region.labels)
        weights = region.weights
        starts = [(members, own) for members in _cores(weights)]
        counted = self.there.counts * population
        rates = Rates.of(region.tested, self.there.badness, counted)
        extent = extend(self.space, starts, own, self.searched, population, self.there.badness, rates)
        tested = honest_rows(extent, population, self.there.badness, rates).astype(np.float64)
        inside = extent.rows.astype(np.float64)
        lost = weights @ inside < _SAME_PLACE * weights.sum()
        if lost or not fails_more(self.there, tested):
            return region
        return replace(region, here=_kept(inside), there=_kept(tested), likelihood=extent.likelihood)


def _cores(weights: Float[np.ndarray, " r"]) -> list[Bool[np.ndarray, " r"]]:
    """The members by any weight, and by at least half of the highest where that is not the same."""
    members, core = weights > 0, weights >= max(weights.max() / 2, 1e-300)
    return [members] if np.array_equal(members, core) else [members, core]


def _lies_in(region: Region, other: Region) -> bool:
    """Whether a region that was not confirmed is mostly the same place as another."""
    if not other.confirmed:
        if region.parts[0] in other.parts:  # the labels of one slice
            return True
        return region.labels == other.labels and overlap(other, region) >= _SAME_PLACE
    return bool(region.here.multiply(other.here).sum() >= _SAME_PLACE * region.here.sum())


def _joining(region: Region, part: Region) -> Region:
    """A region with one more part; a confirmed one's extent stays as it is."""
    if region.confirmed:
        return replace(region, parts=_joined(region.parts, part.parts))
    return _together((region, part), region.labels if region.labels == part.labels else ())


def overlap(one: Region, other: Region) -> float:
    """The share of the smaller region's weight that lies in the other."""
    shared = float(one.here.minimum(other.here).sum())
    return shared / max(1e-300, float(min(one.here.sum(), other.here.sum())))


def stronger(one: Evidence, other: Evidence) -> Evidence:
    """The evidence that says more."""
    return min((one, other), key=lambda e: (_ORDER[e.verdict], 2.0 if e.p is None else e.p))


def _joined(*parts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(part for group in parts for part in group))
