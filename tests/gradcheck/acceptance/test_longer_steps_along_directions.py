"""Leaves that directions do not show enough of: which of them are looked at element by element."""

import numpy as np
import pytest

from gradcheck.acceptance import directional
from gradcheck.acceptance.directions import Directions
from tests.gradcheck.acceptance.benches import bench_of

SIZES = {"large": directional.SMALL + 1, "small": 30, "smaller": 7}


@pytest.mark.parametrize("order", [["large", "small", "smaller"], ["smaller", "small", "large"]])
def test_small_leaves_are_looked_at_wherever_a_large_one_stands(order, monkeypatch):
    slopes = {name: np.arange(1.0, SIZES[name] + 1) for name in order}

    def f(params):
        return float(sum(slopes[name] @ params[name] for name in order))

    bench = bench_of(f, {name: np.ones(SIZES[name]) for name in order}, slopes)
    search = directional._Search(bench, Directions(bench, 0))
    monkeypatch.setattr(directional._Search, "_unseen_after_wrong", lambda self: list(range(len(order))))
    search._take_longer_steps()
    looked_at = {name: bool(np.all(bench.ledgers[leaf].count > 0)) for leaf, name in enumerate(order)}
    assert looked_at == {"large": False, "small": True, "smaller": True}
