"""What a search holds out, and how that is described."""

from __future__ import annotations

import numpy as np

from weakspot import Predictions, Scan
from weakspot.pipeline.search import plan_search


def test_the_stated_share_is_the_one_actually_held_out() -> None:
    """A large group stays on one side, whatever share was asked for."""
    groups = np.repeat(["a", "b", "c"], [300, 60, 40])
    p = Predictions.from_arrays(
        np.random.default_rng(0).normal(size=(400, 3)),
        losses=np.arange(400.0),
        ids=np.array([f"{n:03}" for n in range(400)]),
        attributes={"patient": groups},
    )
    plan = plan_search(Scan(), p, 0.5, "", "patient")
    share = plan.held_out.mean()
    assert (
        plan.source
        == f"{share:.0%} of the set, chosen by a hash of the ids, each patient on one side".replace(
            "%", "\u202f%"
        )
    )
    assert round(share, 2) != 0.5
    assert {*groups[plan.held_out]}.isdisjoint(groups[~plan.held_out])
