"""Reading a claimed gradient: does it have the structure, shapes and numbers that it must have.

What does not fit is a finding against the claim, never an exception: a wrong gradient of any sort is a failed check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.errors import described
from gradcheck.functions.arrays import as_numpy, format_in, is_array
from gradcheck.functions.dense import written_out
from gradcheck.functions.trees import MISSING, Leaf, align
from gradcheck.reports.report import Finding

__all__ = ["GRADIENT", "Misfit", "Reading", "Words", "read_gradient", "unwrapped"]


@dataclass(frozen=True, slots=True)
class Words:
    """What findings call the claim, and the thing whose form it must have."""

    claim: str
    like: str


GRADIENT = Words("its gradient", "the parameter")


@dataclass(slots=True)
class Reading:
    """One claimed gradient, leaf by leaf.

    Attributes
    ----------
    values : dict
        Position of a leaf -> its claim as a float64 vector; missing where nothing of the right shape was given.
    findings : list of Finding
        What did not fit.
    eps : float
        Machine epsilon of the coarsest dtype in which numbers were given; float32's for anything narrower.
    absent : set of int
        Leaves for which nothing was given, by ``None`` or a missing entry.
    names : dict
        Position -> name, of all leaves.
    given : dict
        Position -> the array that came back, itself and no copy.
    misfits : dict
        Position -> the array that came back where its shape does not fit, as float64.
    handed : list of (name, object)
        What the derivative was given, for who wants to know whether memory is shared.
    """

    values: dict[int, Floats] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    eps: float = float(np.finfo(np.float64).eps)
    absent: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)
    given: dict[int, Any] = field(default_factory=dict)
    misfits: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    handed: list[tuple[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something in place of a tuple of gradients: nothing can be read from it."""

    message: str


def read_gradient(
    given: Any, tree: Any, leaves: list[Leaf], *, optional: bool = False, words: Words = GRADIENT
) -> Reading:
    """Read what a gradient function returned.

    Parameters
    ----------
    given : object
        What came back.
    tree : tree
        The parameters, for their structure.
    leaves : list of Leaf
        Their leaves.
    optional : bool
        Whether ``None`` may stand for a gradient that is not computed.
    words : Words
        For the findings.
    """
    names = {position: leaf.name for position, leaf in enumerate(leaves)}
    if isinstance(given, Misfit):
        return Reading(names=names, findings=[Finding(code="wrong-structure", message=given.message)])
    given = unwrapped(given, tree)
    if given is None:
        given = MISSING
    entries, mismatches = align(tree, given)
    reading = Reading(names=names)
    if given is not MISSING:
        for mismatch in mismatches:
            message = f"{words.claim.replace('its', 'the')} {mismatch.message}"
            reading.findings.append(Finding(code="wrong-structure", where=mismatch.where, message=message))
    for position, (leaf, entry) in enumerate(zip(leaves, entries, strict=True)):
        if not leaf.is_differentiable:
            continue
        if entry is MISSING or entry is None:
            reading.absent.add(position)
            if not optional:
                some = "" if given is MISSING or mismatches else "; where only some have one, wrt= names them"
                message = f"{words.claim} is missing{some}"
                reading.findings.append(Finding(code="missing-gradient", where=leaf.name, message=message))
            continue
        _read_entry(reading, leaves, position, entry, words)
    return reading


def unwrapped(given: Any, tree: Any) -> Any:
    """Take one gradient out of a tuple or list of one, where no container was asked for."""
    if isinstance(tree, tuple | list) or not (isinstance(given, tuple | list) and len(given) == 1):
        return given
    return given[0] if isinstance(given, tuple) or (is_array(given[0]) and as_numpy(given[0]).ndim) else given


def _hint(array: NDArray[Any], leaf: Leaf, leaves: list[Leaf]) -> str:
    """Say how a shape may have come about."""
    value = leaf.value
    if [n for n in array.shape if n != 1] == [n for n in value.shape if n != 1]:
        return ": axes of size one too many or too few, as of keepdims"
    if array.size == value.size:
        return ": the same numbers, perhaps, in another arrangement"
    try:
        broadcast = np.broadcast_shapes(array.shape, value.shape)
    except ValueError:
        others = [other.name for other in leaves if other.value.shape == array.shape]
        return f": that is the shape of {others[0]}; another order?" if others else ""
    if broadcast == array.shape:
        return ": a sum over the axes along which the parameter was broadcast is missing"
    return ": a sum over too many axes" if broadcast == value.shape else ""


def _beside(entry: Any, leaf: Leaf) -> str:
    """Say which parts of a tuple could be the claim of a leaf, where it holds more than that."""
    if not (isinstance(entry, tuple) and all(map(is_array, entry))) or len(entry) in (1, *leaf.value.shape[:1]):
        return ""
    fits = [f"[{i}]" for i, part in enumerate(entry) if as_numpy(part).shape == leaf.value.shape]
    if not fits:
        return ""
    return f"is a tuple of {len(entry)}, of which {' and '.join(fits)} could be meant; return that alone"


def _without_numbers(entry: Any, array: NDArray[Any]) -> str:
    """Say why what was given for a leaf, or a part of it, is no number, and what to do; empty where all is."""
    masked = np.count_nonzero(np.ma.getmaskarray(entry)) if isinstance(entry, np.ma.MaskedArray) else 0
    if masked:
        return f"with {masked:,} of {array.size:,} elements masked; fill it, with filled(0.0)"
    if array.dtype.kind in "biufc":
        return ""
    remedy = ", its dtype is object; convert it, with astype(float)" if is_array(entry) and array.size else ""
    return f"that is not an array of numbers{remedy}"


def _read_entry(reading: Reading, leaves: list[Leaf], position: int, entry: Any, words: Words) -> None:
    """Read the claim of one leaf into ``reading``."""
    leaf = leaves[position]
    if type(entry) is not np.ndarray:
        beside = _beside(entry, leaf)
        if beside:
            reading.findings.append(Finding(code="wrong-structure", where=leaf.name, message=f"{words.claim} {beside}"))
            return
        entry = leaf.restore.aligned(written_out(entry, leaf.value.shape))
    try:
        array = as_numpy(entry)
    except (TypeError, ValueError, RuntimeError):
        array = np.empty(0, dtype=object)
    amiss = _without_numbers(entry, array)
    if amiss:
        message = f"{words.claim} is {described(entry)} {amiss}"
        reading.findings.append(Finding(code="wrong-type", where=leaf.name, message=message))
        return
    if array.shape != leaf.value.shape:
        message = f"{words.claim} has shape {array.shape}, {words.like} {leaf.value.shape}{_hint(array, leaf, leaves)}"
        evidence = {"given": array.shape, "required": leaf.value.shape}
        reading.findings.append(Finding(code="wrong-shape", where=leaf.name, message=message, evidence=evidence))
        if array.dtype.kind != "c":
            reading.misfits[position] = array.astype(np.float64)
        return
    if array.dtype.kind == "c":
        if (array.imag != 0).any():
            message = f"{words.claim} is complex ({array.dtype}) with an imaginary part, {words.like} is real"
            reading.findings.append(Finding(code="wrong-dtype", where=leaf.name, message=message))
            return
        array = array.real
    values = array.astype(np.float64).ravel()
    reading.values[position], reading.given[position] = values, entry
    format_ = format_in(entry)
    coarse = format_.eps > float(np.finfo(np.float64).eps) or not format_.eps
    if coarse:
        reading.eps = max(reading.eps, float(np.finfo(np.float32).eps))
    if coarse and format_.eps != leaf.format.eps:
        message = (
            f"{words.claim} is {format_.name}, {words.like} {leaf.format.name}; it is judged at float32's accuracy"
        )
        reading.findings.append(Finding(code="coarse-dtype", where=leaf.name, message=message))
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        first = [int(i) for i in np.unravel_index(int(np.isfinite(values).argmin()), leaf.value.shape)]
        where = f" in {bad:,} of {values.size:,} elements, the first at {first}" if values.size > 1 else ""
        message = f"{words.claim} is NaN or infinite{where}"
        reading.findings.append(
            Finding(code="not-finite", where=leaf.name, message=message, evidence={"count": bad, "first": first})
        )
