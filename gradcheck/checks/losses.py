"""Who claims the gradient of a scalar function by pulling a number back: the last operation may ignore that number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.checks.check import Check
from gradcheck.checks.protocol import examine_linearity, examine_zero
from gradcheck.checks.scalar import ScalarClaimant
from gradcheck.functions.probe import calling
from gradcheck.reports.claims import Reading, read_gradient

__all__ = ["LossClaimant"]

Floats = NDArray[np.float64]

FACTOR = -0.5
"""Pulled back beside one and zero: of the other sign, and a power of two, by which nothing is rounded."""


class LossClaimant(ScalarClaimant):
    """A scalar function of named inputs, and what pulls a number back to them; the claim is what it gives for one."""

    derivative = "backward"
    seed = "its upstream"

    def __init__(self, f: Callable[[Any], Any], pull: Callable[..., Sequence[Any]], inputs: dict[str, Any]) -> None:
        super().__init__(f, lambda p: self._pulled(1.0, p), inputs)
        self.pull = pull

    def _pulled(self, number: float, inputs: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(inputs, self.pull(number, *inputs.values()), strict=True))

    def protocol(self, check: Check, cotangents: Floats, first: list[Reading]) -> None:
        """Check that it is linear in the number, and zero for zero."""
        ignored = examine_zero(check, self._reading(check, 0.0), first[0])
        examine_linearity(check, cotangents, self._reading(check, FACTOR), first, np.array([FACTOR]), ignored)

    def _reading(self, check: Check, number: float) -> Reading:
        self.calls += 1
        with calling(self.derivative, "at the given point"):
            given = self._pulled(number, check.point.hand().tree)
        return read_gradient(given, self.params, check.point.leaves)
