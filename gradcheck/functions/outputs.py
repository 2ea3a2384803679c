"""A function seen output by output: as many derivatives as it has outputs, all from the same evaluations."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.aliases import Floats
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import is_array
from gradcheck.functions.containers import is_number_list
from gradcheck.functions.points import Output, Point, point_of
from gradcheck.functions.probe import Probe

__all__ = ["EachOutput", "one_array_of", "one_leaf_of"]


class EachOutput(Probe):
    """A probe that reads each of ``M`` outputs on its own: ``cotangents``, shape (M, 1), holds a factor for each.

    The rows of the identity would do the same in ``M`` times the work, and one infinite output would spoil the others.
    """

    def _contract(self, outputs: Floats) -> Floats:
        return self.cotangents[:, 0] * outputs

    def rounding(self) -> Floats:
        """Return half a unit in the last place of each, shape (M,)."""
        return np.abs(self.cotangents[:, 0] * self.output.rounding())


def one_leaf_of(x: Any, argument: str) -> Point:
    """Take a point apart that must be a single array or number.

    Raises
    ------
    InvalidArgument
        For a container, and for what `point_of` refuses.
    """
    if not isinstance(x, float | np.number) and not is_number_list(x) and not is_array(x):
        raise InvalidArgument(
            f"{argument} is {described(x)}; one array or float was required; for a tree of arrays use check_vjp."
        )
    return point_of(x, argument)


def one_array_of(output: Output) -> Output:
    """Return the form of a value that must be a single array of floating-point numbers, an empty one perhaps.

    Raises
    ------
    InvalidArgument
        For anything else.
    """
    kinds = [leaf.value.dtype for leaf in output.leaves]
    if not output.is_bare or kinds[0].kind != "f":
        given = f"an array of {kinds[0]} with {output.size} elements" if len(kinds) == 1 else f"{len(kinds)} arrays"
        raise InvalidArgument(
            f"{output.name} returned {given}; one array of floating-point numbers was required; "
            "for several outputs use check_vjp."
        )
    return output
