"""Functions that read the user's own arrays and ignore their argument: those arrays are displaced, and restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import as_numpy, is_array, is_still, memory_of, overwrite
from gradcheck.functions.options import Settings
from gradcheck.functions.points import Point
from gradcheck.functions.trees import align

__all__ = ["displacing"]


@dataclass(frozen=True, slots=True)
class _Place:
    """The arrays of the user's that are displaced.

    Attributes
    ----------
    params : tree
        The user's own, which the functions are called with.
    arrays : dict
        Position of a leaf -> the user's array.
    """

    params: Any
    arrays: dict[int, Any]

    def bound(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a function of a displaced tree that calls this one with the user's arrays displaced in the same way."""

        def called(tree: Any) -> Any:
            leaves, _ = align(self.params, tree)
            kept = {leaf: as_numpy(leaves[leaf]).copy() for leaf in self.arrays}
            for leaf, array in self.arrays.items():
                overwrite(array, kept[leaf])
            value = function(self.params)
            for leaf, array in self.arrays.items():
                if not is_still(array, kept[leaf]):  # so that who looks at the tree sees what was done
                    overwrite(leaves[leaf], as_numpy(array))
            return value

        called.__wrapped__ = function  # type: ignore[attr-defined]  # for who asks for its signature
        return called


@contextmanager
def displacing(params: Any, point: Point, settings: Settings, *, reference: Any = None) -> Iterator[_Place]:
    """Displace the user's own arrays within a block, and restore them to the last bit, however it ends.

    Raises
    ------
    InvalidArgument
        For arrays that cannot be written, or that share memory with each other, and for options that need several
        points at a time.
    """
    if settings.workers is not None or settings.vectorized or reference is not None:
        option = "workers=" if settings.workers is not None else "vectorized=" if settings.vectorized else "reference="
        raise InvalidArgument(
            f"in_place=True displaces your own arrays, one point at a time and in their own dtype, and {option} needs "
            "others; leave one of the two out."
        )
    entries, _ = align(params, params)
    arrays = {leaf: entries[leaf] for leaf in point.free()}
    for leaf, array in arrays.items():
        _require_writable(point.leaves[leaf].name, array)
    _require_apart({point.leaves[leaf].name: memory_of(array) for leaf, array in arrays.items()})
    kept = {leaf: as_numpy(array).copy() for leaf, array in arrays.items()}
    try:
        yield _Place(params, arrays)
    finally:
        _restore(arrays, kept)


def _restore(arrays: dict[int, Any], kept: dict[int, NDArray[Any]]) -> None:
    """Write back what was in the arrays; Ctrl-C in the midst of it comes through when it is done."""
    interrupt: BaseException | None = None
    for leaf, array in arrays.items():
        try:
            overwrite(array, kept[leaf])
        except KeyboardInterrupt as error:
            interrupt = error
            overwrite(array, kept[leaf])
    if interrupt is not None:
        raise interrupt


def _require_writable(name: str, array: Any) -> None:
    given = f"in_place=True, but {name!r} is {described(array)}"
    if not is_array(array):
        raise InvalidArgument(f"{given} and cannot be displaced in place; make it an array, or leave it out with wrt=.")
    memory = memory_of(array)
    is_tensor = callable(getattr(array, "copy_", None))
    if not is_tensor and (memory is None or not memory.flags.writeable):
        raise InvalidArgument(
            f"{given} that cannot be written; give a writable array, or leave in_place out and let f use its argument."
        )


def _require_apart(memories: dict[str, NDArray[Any] | None]) -> None:
    known: list[tuple[str, NDArray[Any]]] = []
    for name, memory in memories.items():
        if memory is None:
            continue
        for other, array in known:
            if np.may_share_memory(memory, array) and np.shares_memory(memory, array):
                raise InvalidArgument(
                    f"in_place=True, but {other!r} and {name!r} are the same memory, so neither can be moved alone; give it once."
                )
        known.append((name, memory))
