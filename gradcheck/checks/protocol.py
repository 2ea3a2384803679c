"""What a derivative must keep beside its values: the same for the same numbers, linear, and memory of its own.

Everything here is asked of the derivative at few points, and none of it needs differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.checks.check import Check, are_single
from gradcheck.checks.roundoff import changes_by_rounding, residues
from gradcheck.checks.second_point import AWAY, compare
from gradcheck.diagnosis.precision import coarse_format
from gradcheck.differences.counts import SMALL
from gradcheck.functions.arrays import as_numpy, memory_of
from gradcheck.functions.blocks import BLOCK, are_equal, blocks
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.points import Handed, Layout, Output, Point
from gradcheck.functions.probe import BudgetExhaustedError, calling
from gradcheck.reports.claims import Reading

__all__ = [
    "ROUNDED",
    "examine",
    "examine_first",
    "examine_linearity",
    "examine_repeated_value",
    "examine_value",
    "examine_zero",
    "is_random",
]

ROUNDINGS = 1000.0
"""A change of a gradient at another point by this many units in the last place is not rounding."""

ROUNDED = 16.0
"""Ratio of a difference between two results to their change when point or seed moves by an ulp, up to which rounding
explains it."""

COARSE = 4.0
"""Units of rounding of a coarse format, where all claims are numbers of one, that a combination may be off by."""

REPEATED = 1e3
"""Units of rounding, relative to the largest value of a function, by which two calls at one point may differ: sums whose
order changes from call to call, as on several threads, differ by some tens. More is no rounding, but another function."""

REPETITIONS = 2
"""Calls that repeat a value, each time: two in a row tell a function that alternates."""


def _fortran(array: NDArray[Any]) -> NDArray[Any]:
    return np.array(array, order="F")


def _strided(array: NDArray[Any]) -> NDArray[Any]:
    """Put other numbers between those of the last axis."""
    if not array.ndim:
        return array
    wide = np.repeat(array, 2, axis=-1)
    wide[..., 1::2] += np.ones((), dtype=array.dtype)
    return wide[..., ::2]


def _reversed(array: NDArray[Any]) -> NDArray[Any]:
    backwards = (slice(None, None, -1),) * array.ndim
    return array[backwards].copy()[backwards] if array.ndim else array


LAYOUTS: dict[str, Layout] = {
    "in Fortran order": _fortran,
    "with gaps in memory": _strided,
    "with negative strides": _reversed,
}
"""Ways to hold the same numbers in memory."""


def examine_first(check: Check, cotangents: Floats, first: list[Reading]) -> list[Reading]:
    """Look at the memory of the first claims and compare them with those of the second point, which are needed no more then.

    Parameters
    ----------
    check : Check
        The check; findings go there.
    cotangents : array, shape (K, M)
        Through which the function is read.
    first : list of Reading
        The claims.

    Returns
    -------
    here : list of Reading
        The claim with which those of other calls are compared.
    """
    here = check.subject.first_sample(check, cotangents, first)
    _examine_memory(check, here)
    if check.elsewhere is not None:
        _examine_kept(check, check.elsewhere.claims)
        compare(check, here[0])
    return here


def examine(check: Check, cotangents: Floats, first: list[Reading], here: list[Reading]) -> None:
    """Call function and derivative again, and with other memory layouts.

    Parameters
    ----------
    check, cotangents, first
        As of `examine_first`.
    here : list of Reading
        What that returned.
    """
    subject = check.subject
    # One comparison after the other, so that only the arrays of one are in memory.
    handed = check.point.hand()
    again = _without_memory(subject.sample(check, handed, cotangents))
    changed = handed.changed()
    del handed
    if changed:
        message = f"{subject.derivative} changed its arguments in place: {', '.join(changed)}"
        check.find("inputs-changed", message, fatal=True)
    _examine_kept(check, first)
    repeats = _examine_repetition(check, cotangents, here, again)
    del again
    if check.elsewhere is not None and not check.elsewhere.same:
        check.elsewhere.arrays = []
    if repeats and not changed:
        _examine_last_point(check, cotangents, here)
        _examine_layouts(check, cotangents, here)


def is_random(check: Check) -> bool:
    """Tell whether the function was found to give something else when called again."""
    return any(finding.code == "f-not-deterministic" for finding in check.remarks)


def examine_value(check: Check) -> None:
    """Call the function again: it must give what it gave first.

    That is a tenth of all calls where it is noisier than rounding makes it: what is another value at each k-th call looks so.
    """
    if is_random(check):
        return
    noisy = [
        np.any(found.noise_of_f > _rounding(check.output, check.point, check.base))
        for found in check.judgements.values()
    ]
    times = int(max(REPETITIONS, min(SMALL, check.budget.used // 10, check.budget.left))) if any(noisy) else REPETITIONS
    examine_repeated_value(check, check.output, check.subject.value, check.point, check.value, times)


def examine_repeated_value(
    check: Check,
    output: Output,
    function: Callable[[Any], Any],
    point: Point,
    value: Floats,
    times: int = REPETITIONS,
) -> None:
    """Call a function again at a point: it must give what it gave first, but for the rounding of its own arithmetic."""
    rounding, size = _rounding(output, point, value), _size(value)
    for _ in range(times):
        check.budget.spend()
        with calling(output.name, "at the given point"):
            again = output.read(function(point.hand().tree))
        apart = np.abs(again - value)
        beyond = apart > rounding
        if beyond.any():
            largest = float(apart[beyond].max())
            check.find(
                "f-not-deterministic",
                f"{output.name} gave something else when called again at the same point: they differ by up to "
                f"{largest:.3g}, the first is up to {size:.3g}; fix its random numbers and its state",
                difference=largest,
            )
            return


def _size(value: Floats) -> float:
    return float(np.abs(value).max(initial=0.0, where=np.isfinite(value)))


def _rounding(output: Output, point: Point, value: Floats) -> float:
    """Return by how much repeated values of this size may differ: by more, a function is not deterministic."""
    eps = max(output.eps, *(leaf.format.eps for leaf in point.leaves if leaf.is_differentiable), _hidden_eps(value))
    return REPEATED * eps * _size(value)


def _hidden_eps(value: Floats) -> float:
    """Return the epsilon of float32 where all values are exact in it, and not by being round: they were computed in it."""
    return float(np.finfo(np.float32).eps) if are_single(value) else 0.0


def _value(check: Check, handed: Handed) -> Floats:
    """Return the function's value at a point as one vector."""
    check.budget.spend()
    with calling(check.subject.name, "at the given point"):
        return check.output.read(check.subject.value(handed.tree))


# ---- the same again -------------------------------------------------------------------------------------------------


def _pairs(one: list[Reading], other: list[Reading]) -> Iterator[tuple[str, Floats, Floats]]:
    """Give name and both claims of every leaf for which either has one; NaN where one of them lacks it."""
    for mine, theirs in zip(one, other, strict=True):
        for leaf, values in mine.values.items():
            twin = theirs.values.get(leaf)
            yield mine.names[leaf], values, np.full_like(values, np.nan) if twin is None else twin


def _apart(values: Floats, others: Floats) -> tuple[float, float]:
    """Return the largest difference and the largest number."""
    if values.size <= BLOCK:
        return _apart_in(values, others)
    apart, size = np.max([_apart_in(*pair) for pair in zip(blocks(values), blocks(others), strict=True)], axis=0)
    return float(apart), float(size)


def _apart_in(values: Floats, others: Floats) -> tuple[float, float]:
    apart, size = float(np.abs(values - others).max(initial=0.0)), float(np.abs(values).max(initial=0.0))
    if np.isfinite(apart) and np.isfinite(size):  # nearly always, and a check asks for each leaf and layout
        return apart, size
    finite = np.abs(values[np.isfinite(values)])
    difference = np.where(values == others, 0.0, np.abs(values - others))
    both_nan = np.isnan(values) & np.isnan(others)
    return float(np.where(both_nan, 0.0, difference).max(initial=0.0)), float(finite.max(initial=0.0))


def _is_rounding(check: Check, apart: float, size: float) -> bool:
    """Tell whether two results of this size may differ like this by rounding.

    Near a minimum the gradient goes to zero and what it is summed from does not: at the second point that shows.
    """
    rounding = check.elsewhere.rounding if check.elsewhere is not None else 0.0
    return apart <= max(check.rtol * size, ROUNDINGS * rounding)


def _examine_repetition(check: Check, cotangents: Floats, here: list[Reading], again: list[Reading]) -> bool:
    """Say how a second claim at the same point differs from the first; return whether it is the same."""
    derivative = check.subject.derivative
    different = [(name, *_apart(a, b)) for name, a, b in _pairs(here, again) if not are_equal(a, b)]
    if not different:
        return True
    third, fourth = (check.subject.sample(check, check.point.hand(), cotangents) for _ in range(2))
    grows = {
        name: _same_steps(a, b, c)
        for (name, a, b), (_, _, c) in zip(_pairs(again, third), _pairs(again, fourth), strict=True)
    }
    lags = _lags(check, cotangents, here)
    for name, apart, size in different:
        fatal = grows[name] or lags or not _is_rounding(check, apart, size)
        if grows[name]:
            code = "accumulates"
            message = f"{derivative} gives more by the same amount at each call: it adds to what it gave before; start from zeros"
        elif lags:
            code = "stale-gradient"
            message = f"{derivative} gives the gradient of the point at which it, or the function, was called before"
        else:
            code = "second-call-differs"
            message = (
                f"{derivative} gave something else when called again at the same point: they differ by up to "
                f"{apart:.3g}, the first is up to {size:.3g}"
            )
        check.find(code, message, where=name, fatal=fatal, difference=apart)
    return False


def _same_steps(one: Floats, two: Floats, three: Floats) -> bool:
    """Tell whether three vectors lie on a line at equal distances."""
    first, second = two - one, three - two
    return bool((first != 0).any()) and _apart(first, second)[0] <= 1e-3 * _apart(first, first)[1]


def _lags(check: Check, cotangents: Floats, here: list[Reading]) -> bool:
    """Tell whether the first claim was that of the point of the call before it: it comes again at the second point."""
    if check.elsewhere is None:
        return False
    for _ in range(2):
        there = check.subject.sample(check, check.point.hand([a.copy() for a in check.elsewhere.arrays]), cotangents)
    return all(are_equal(a, b) for _, a, b in _pairs(here, there))


def _examine_last_point(check: Check, cotangents: Floats, here: list[Reading]) -> None:
    """Ask for the claim when the function was called at another point last: it must be that of its argument all the same.

    One call of each; two more where the claim differs, to see that calling the function at the given point mends it.
    """
    if not check.subject.stands_alone or check.elsewhere is None:
        return
    rng = np.random.default_rng(check.settings.key)
    try:
        _value(check, check.point.hand(check.point.moved(AWAY[0], rng)))
        after = check.subject.sample(check, check.point.hand(), cotangents)
    except BudgetExhaustedError:
        raise
    except Exception:  # noqa: BLE001 - the function need not be defined there, and without a value there is nothing to compare
        return
    different = [
        (name, *_apart(one, two))
        for name, one, two in _pairs(here, after)
        if not _is_rounding(check, *_apart(one, two))
    ]
    if not different:
        return
    _value(check, check.point.hand())
    mended = check.subject.sample(check, check.point.hand(), cotangents)
    if all(_is_rounding(check, *_apart(one, two)) for _, one, two in _pairs(here, mended)):
        name, function = check.subject.derivative, check.subject.name
        check.find(
            "last-point-gradient",
            f"{name} gives the gradient of the point at which {function} was called last, not of its argument: they differ by "
            f"up to {max(apart for _, apart, _ in different):.3g}; call {function} first, or evaluate inside {name}",
            parameters=[name for name, _, _ in different],
        )


# ---- memory ---------------------------------------------------------------------------------------------------------


def _examine_memory(check: Check, readings: list[Reading]) -> None:
    """Say which gradients share memory with each other, with an argument or with the seed."""
    for reading in readings:
        gradients = {leaf: memory_of(given) for leaf, given in reading.given.items()}
        named = [(f"the gradient of {reading.names[leaf]}", array) for leaf, array in gradients.items()]
        named += [(name, memory_of(given)) for name, given in reading.handed]
        shares = _sharing([array for _, array in named])
        for number, leaf in enumerate(gradients):
            before = [at for at in sorted(shares[number]) if at < number or at >= len(gradients)]
            if before:
                check.find(
                    "shares-memory",
                    f"its gradient is the same memory as {named[before[0]][0]}: who writes into one changes the other; return a copy",
                    where=reading.names[leaf],
                )
        reading.handed = []  # it may be large


def _sharing(arrays: list[NDArray[Any] | None]) -> list[set[int]]:
    """Return for each array the positions of those that share memory with it; only neighbours in memory are compared."""
    shares: list[set[int]] = [set() for _ in arrays]
    known = [(at, array) for at, array in enumerate(arrays) if array is not None and array.size]
    near: list[tuple[int, int, NDArray[Any]]] = []
    for (low, high), at, array in sorted(
        ((byte_bounds(array), at, array) for at, array in known), key=lambda span: span[:2]
    ):
        near = [other for other in near if other[0] > low]
        for _, other_at, other in near:
            if np.shares_memory(array, other):
                shares[at].add(other_at)
                shares[other_at].add(at)
        near.append((high, at, array))
    return shares


def _without_memory(readings: list[Reading]) -> list[Reading]:
    """Return claims without what was given and what came back: they may be large."""
    for reading in readings:
        reading.handed, reading.given = [], {}
    return readings


def _examine_kept(check: Check, readings: list[Reading]) -> None:
    """Look at what earlier calls returned: it must still be what it was then."""
    for reading in readings:
        for leaf, given in reading.given.items():
            values = np.real(as_numpy(given)).astype(np.float64, copy=False).ravel()
            if not are_equal(values, reading.values[leaf]):
                check.find(
                    "buffer-reused",
                    f"the gradient returned first was overwritten when {check.subject.derivative} was called again: "
                    "both calls return the same memory; return a new array",
                    where=reading.names[leaf],
                    fatal=True,
                )


def _examine_layouts(check: Check, cotangents: Floats, here: list[Reading]) -> None:
    """Hand out the same numbers in other memory layouts: nothing may change but by rounding."""
    nearby: dict[str, float] = {}
    for words, layout in LAYOUTS.items():
        if all(leaf.laid_out(leaf.value, layout).flags.c_contiguous for leaf in check.point.leaves):
            continue
        try:
            compared = _compare_laid_out(check, cotangents, here, layout)
        except BudgetExhaustedError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's functions raise: they may refuse a layout
            check.untried.append(f"{words} ({type(error).__name__})")
            continue
        for name, apart, size in compared:
            if not _is_rounding(check, apart, size):
                nearby = nearby or changes_by_rounding(check, cotangents, here)
                if apart <= ROUNDED * nearby[name]:
                    continue
                _depends(check, name, check.subject.derivative if name else check.output.name, words, apart, size)
                if not name:
                    return


def _compare_laid_out(
    check: Check, cotangents: Floats, here: list[Reading], layout: Layout
) -> list[tuple[str, float, float]]:
    """Return how far value and claims are apart in another layout, and their sizes; the name of the value is empty."""
    with at_our_own_points():
        value = _value(check, check.point.hand(layout=layout))
        there = _without_memory(check.subject.sample(check, check.point.hand(layout=layout), cotangents, layout))
        claims = [(name, *_apart(one, other)) for name, one, other in _pairs(here, there)]
        return [("", *_apart(check.value, value)), *claims]


def _depends(check: Check, where: str, who: str, words: str, apart: float, size: float) -> None:
    """Say that somebody's result depends on the layout. The function may ask for contiguous arrays, and gets them."""
    check.find(
        "layout-dependent",
        f"{who} gives something else for the same numbers {words}: "
        + (
            f"they differ by up to {apart:.3g}, it is up to {size:.3g}"
            if np.isfinite(apart)
            else "once it is not finite"
        ),
        where=where,
        fatal=bool(where),
        layout=words,
    )


# ---- linear in the seed ---------------------------------------------------------------------------------------------


def examine_linearity(
    check: Check, cotangents: Floats, combined: Reading, first: list[Reading], weights: Floats, ignored: set[str]
) -> None:
    """Compare what a combination of seeds gives with the combination of what they give; not where it is ignored.

    Where the terms of all three sums cancel they differ by the round-off of the terms.
    """
    nearby: dict[str, float] = {}
    least: dict[int, Floats] = {}
    for leaf, values in combined.values.items():
        parts = [reading.values[leaf] for reading in first if leaf in reading.values]
        if len(parts) < len(first) or combined.names[leaf] in ignored:
            continue
        apart, size = _off(values, parts, weights)
        if not apart > max(100 * combined.eps, check.rtol) * size:
            continue
        if apart <= COARSE * float(np.abs(weights).sum()) * coarse_format(np.stack([values, *parts]))[1] * size:
            continue  # rounding of a backward in half precision, which the values show
        most = ROUNDED * float(np.abs(weights).sum())
        if leaf in check.roundoff and apart <= most * float(check.roundoff[leaf].own.max(initial=0.0)):
            continue
        nearby = nearby or changes_by_rounding(check, cotangents, first[:1])
        least = least or residues(check, first, np.abs(cotangents) @ np.abs(check.value))
        if apart > most * max(nearby[combined.names[leaf]], float(np.max(least.get(leaf, 0.0), initial=0.0))):
            check.find(
                "not-linear",
                f"{check.subject.derivative} is not linear in {check.subject.seed}: a combination of two is off by "
                f"{apart:.3g}, what it gives is up to {size:.3g}",
                where=combined.names[leaf],
                fatal=True,
            )


def _off(whole: Floats, parts: list[Floats], weights: Floats) -> tuple[float, float]:
    """Return how far a vector is from a combination of others, at most, and the largest number in those; NaN where one is."""
    largest = [(0.0, 0.0)]
    for piece, *others in zip(*map(blocks, (whole, *parts)), strict=True):
        largest.append((np.abs(piece - weights @ others).max(), np.abs(others).max()))
    apart, size = np.max(largest, axis=0)
    return float(apart), float(size)


def examine_zero(check: Check, reading: Reading, first: Reading) -> set[str]:
    """Check that zeros give zeros; return the names of leaves whose gradient does not depend on the seed at all."""
    derivative, seed, role = check.subject.derivative, check.subject.seed, check.subject.role
    ignored = set()
    for leaf, values in reading.values.items():
        name = reading.names[leaf]
        is_asked = np.isfinite(first.values[leaf]) if leaf in first.values else True  # elsewhere zeros give NaN
        if not ((values != 0) & is_asked).any():
            continue
        if leaf in first.values and np.array_equal(values, first.values[leaf]):
            ignored.add(name)
            message = f"{derivative} does not depend on {seed}: it gives the same for zeros"
            check.find(f"{role}-ignored", message, where=name, fatal=True)
        else:
            message = f"{derivative} is not zero where {seed} is zero: something is added that does not depend on it"
            check.find(f"zero-{role}", message, where=name, fatal=True)
    return ignored
