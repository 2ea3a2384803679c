"""What a bench knows of all leaves before anything is measured."""

import numpy as np
import pytest

from gradcheck.differences.counts import NEGLIGIBLE

from .benches import bench_of


@pytest.mark.parametrize("sizes", [[1.0], [3.0, 1.0], [1.0, 3.0, 3.0], [0.0, 2.0, 0.5, 1.0], [0.0, 0.0]])
def test_what_is_as_good_as_zero_is_so_beside_the_largest_of_the_others(sizes):
    leaves = {f"x{number}": np.ones(4) for number in range(len(sizes))}
    claims = {name: size * np.ones(4) for name, size in zip(leaves, sizes, strict=True)}
    bench = bench_of(lambda p: float(sum(np.sum(x) for x in p.values())), leaves, claims)
    for number in range(len(sizes)):
        others = [size for other, size in enumerate(sizes) if other != number]
        assert bench.negligible[number] == pytest.approx(NEGLIGIBLE * max(others, default=0.0))
