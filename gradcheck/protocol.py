"""What a derivative must keep beside its values: the same for the same, another elsewhere, and memory of its own.

Everything here is asked of the derivative at few points, and none of it needs differences, but for one case: a gradient
that is the same at two points, which that of a linear function is and a stale one is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.claims import Reading
from gradcheck.differences import climb, lengths_of, noise_multiplier
from gradcheck.evaluation import BudgetExhaustedError, Probe, calling
from gradcheck.noise import ulp
from gradcheck.pilot import measure_noise
from gradcheck.points import Layout, point_of

if TYPE_CHECKING:
    from gradcheck.session import Session

__all__ = ["examine", "is_linear", "is_zero_for_zero", "settles"]

Floats = NDArray[np.float64]

AWAY = (0.03, 1e-3)
"""How far the second point is from the first, relatively and at most; the next is tried where there is no value."""

ROUNDINGS = 30.0
"""So many times the spread of claims an ulp away is no rounding."""

REPEATED = 64.0
"""A function that gives values within so many units in the last place of each other repeats itself."""

CERTAIN = 10.0
"""So many times its error bound a slope must be from a claim that is the same at two points."""


def _fortran(array: NDArray[Any]) -> NDArray[Any]:
    return np.asfortranarray(array)


def _strided(array: NDArray[Any]) -> NDArray[Any]:
    """Put other numbers between those of the last axis."""
    if not array.ndim:
        return array
    wide = np.repeat(array, 2, axis=-1) + np.ones((), dtype=array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def _reversed(array: NDArray[Any]) -> NDArray[Any]:
    backwards = (slice(None, None, -1),) * array.ndim
    return array[backwards].copy()[backwards]


LAYOUTS: dict[str, Layout] = {
    "in Fortran order": _fortran,
    "with gaps in memory": _strided,
    "with negative strides": _reversed,
}
"""Ways to hold the same numbers in memory."""


def examine(check: Session, probe: Probe, cotangents: Floats, first: list[Reading]) -> None:
    """Call function and derivative again: at the point, at another one, and with other memory layouts.

    Parameters
    ----------
    check : Session
        The check; findings go there.
    probe : Probe
        The function.
    cotangents : array, shape (K, M)
        The cotangents of the claims.
    first : list of Reading
        The claims.
    """
    claimant = check.claimant
    here = claimant.first_sample(check, cotangents, first)
    _shares_memory(check, here)
    elsewhere = _elsewhere(check, probe, cotangents, here, first)
    arrays = check.point.copies()
    again = claimant.sample(check, arrays, cotangents)
    changed = check.point.changed(arrays)
    if changed:
        message = f"{claimant.derivative} changed its arguments in place: {', '.join(changed)}"
        check.find("inputs-changed", message, fatal=True)
    settles(check, probe)
    _repeats(check, cotangents, here, again, elsewhere)
    del again, elsewhere, arrays  # they may be large
    _is_kept(check, here)
    _ignores_layout(check, probe, cotangents, here)


def settles(check: Session, probe: Probe) -> None:
    """Call the function again: it must give what it gave first."""
    if any(finding.code == "f-not-deterministic" for finding in check.findings):
        return
    again = _value(check, check.point.copies())
    with np.errstate(all="ignore"):
        apart = np.abs(again - check.value)
        beyond = apart > REPEATED * np.array([ulp(number) for number in check.value])
    if np.any(beyond):
        largest = float(np.max(apart[beyond]))
        check.find(
            "f-not-deterministic",
            f"{probe.output.name} gave something else when called again at the same point: they differ by up to "
            f"{largest:.3g}, the first is up to {np.max(np.abs(check.value)):.3g}; fix its random numbers and its state",
            difference=largest,
        )


def _value(check: Session, arrays: list[NDArray[Any]]) -> Floats:
    """Return the function's value at a point as one vector."""
    check.budget.spend()
    with calling(check.claimant.name, "at the given point"):
        return check.output.read(check.claimant.value(check.point.hand_out(arrays)))


# ---- the same again -------------------------------------------------------------------------------------------------


def _pairs(one: list[Reading], other: list[Reading]) -> Iterator[tuple[str, Floats, Floats]]:
    """Give name and both claims of every leaf for which either has one; NaN where one of them lacks it."""
    for mine, theirs in zip(one, other, strict=True):
        for leaf, values in mine.values.items():
            yield mine.names[leaf], values, theirs.values.get(leaf, np.full_like(values, np.nan))


def _apart(values: Floats, others: Floats) -> tuple[float, float]:
    """Return the largest difference and the largest number."""
    with np.errstate(all="ignore"):
        finite = np.abs(values[np.isfinite(values)])
        difference = np.where(values == others, 0.0, np.abs(values - others))
        both_nan = np.isnan(values) & np.isnan(others)
        return float(np.max(np.where(both_nan, 0.0, difference), initial=0.0)), float(np.max(finite, initial=0.0))


def _is_rounding(check: Session, cotangents: Floats, here: list[Reading], apart: float, size: float) -> bool:
    """Tell whether two claims may differ like this by rounding: relatively little, or as those an ulp away do."""
    if apart <= 10 * check.rtol * size:
        return True
    spread = check.spread(here, lambda arrays: check.claimant.sample(check, arrays, cotangents))
    return apart <= ROUNDINGS * max((float(np.max(part)) for part in spread.values()), default=0.0)


def _repeats(
    check: Session, cotangents: Floats, here: list[Reading], again: list[Reading], elsewhere: list[Reading] | None
) -> None:
    """Say how a second claim at the same point differs from the first."""
    derivative = check.claimant.derivative
    different = [
        (name, *_apart(a, b)) for name, a, b in _pairs(here, again) if not np.array_equal(a, b, equal_nan=True)
    ]
    if not different:
        return
    third, fourth = (check.claimant.sample(check, check.point.copies(), cotangents) for _ in range(2))
    growth = {
        name: (a, c - b) for (name, a, b), (_, _, c) in zip(_pairs(here, again), _pairs(here, third), strict=True)
    }
    stays = all(np.array_equal(a, b) for _, a, b in _pairs(third, fourth))
    moved = elsewhere is not None and stays and all(np.array_equal(a, b) for _, a, b in _pairs(again, elsewhere))
    for name, apart, size in different:
        claim, step = growth[name]
        fatal = not _is_rounding(check, cotangents, here, apart, size)
        if fatal and _apart(claim, step)[0] <= 1e-3 * size:
            code = "accumulates"
            message = f"{derivative} adds to what it gave before: each call gives one gradient more; start from zeros"
        elif fatal and moved:
            code = "stale-gradient"
            message = f"{derivative} gives the gradient of the point at which it, or the function, was called before"
        else:
            code = "second-call-differs"
            message = (
                f"{derivative} gave something else when called again at the same point: they differ by up to "
                f"{apart:.3g}, the first is up to {size:.3g}"
            )
        check.find(code, message, where=name, fatal=fatal, difference=apart)


# ---- elsewhere ------------------------------------------------------------------------------------------------------


def _elsewhere(
    check: Session, probe: Probe, cotangents: Floats, here: list[Reading], first: list[Reading]
) -> list[Reading] | None:
    """Call the derivative at a second point, and return its claims there; None where there are none.

    It is a point that nobody asked for: what the user's functions raise there is no fault of theirs.
    """
    for away in AWAY:
        arrays = check.point.moved(away, check.settings.rng)
        try:
            if not np.all(np.isfinite(_value(check, arrays))):
                continue
            there = check.claimant.sample(check, [array.copy() for array in arrays], cotangents)
        except BudgetExhaustedError:
            raise
        except Exception:  # noqa: BLE001, S112 - whatever the user's function raises; the blind spots say it
            continue
        check.second_point = True
        if all(np.array_equal(a, b) for _, a, b in _pairs(here, there)):
            _is_constant(check, probe, arrays, first)
        return there
    return None


def _is_constant(check: Session, probe: Probe, arrays: list[NDArray[Any]], first: list[Reading]) -> None:
    """Find leaves whose gradient, though it is the same at two points, is not that of the second one."""
    if not check.claimant.is_slope:
        return
    rng = check.settings.rng
    leaves = [leaf for leaf in check.point.free() if all(leaf in reading.values for reading in first)]
    if not leaves:
        return
    directions = {leaf: lengths_of(arrays[leaf]) * rng.choice([-1.0, 1.0], arrays[leaf].size) for leaf in leaves}

    def along(moves: NDArray[np.float64]) -> Any:
        moved = [array.copy() for array in arrays]
        for leaf, move in zip(leaves, moves, strict=True):
            moved[leaf] = (arrays[leaf] + (move * directions[leaf]).reshape(arrays[leaf].shape)).astype(
                moved[leaf].dtype
            )
        return check.claimant.value(check.point.hand_out(moved))

    start = point_of(np.zeros(len(leaves)), "moves")
    there = type(probe)(along, start, probe.output, probe.cotangents, check.budget)
    base = there.ray({}, np.zeros(1))[0]
    lengths = np.ones(len(leaves))
    noise = measure_noise(there, base, {0: lengths}, rng)
    slopes = climb(
        there,
        0,
        np.arange(len(leaves)),
        lengths,
        base,
        noise,
        multiplier=noise_multiplier(base.size * len(leaves)),
        rtol=check.rtol,
    )
    for row, leaf in enumerate(leaves):
        terms = np.stack([reading.values[leaf] * directions[leaf] for reading in first])
        with np.errstate(all="ignore"):
            apart = np.abs(slopes.value[row] - terms.sum(axis=1))
            allowed = CERTAIN * (slopes.bound[row] + check.rtol * np.abs(terms).sum(axis=1))
        if np.any((apart > allowed) & ~slopes.kink[row]):
            check.find(
                "stale-gradient",
                f"{check.claimant.derivative} gives the same at a second point, where the slope is another: it returns "
                "the gradient of the first point for ever",
                where=check.point.leaves[leaf].name,
                fatal=True,
            )


# ---- memory ---------------------------------------------------------------------------------------------------------


def _shares_memory(check: Session, here: list[Reading]) -> None:
    """Say which gradients share memory with each other, with an argument or with the seed."""
    for reading in here:
        gradients = [(f"the gradient of {reading.names[leaf]}", array) for leaf, array in reading.given.items()]
        for number, (leaf, array) in enumerate(reading.given.items()):
            for name, other in [*gradients[:number], *reading.handed]:
                if array.size and np.may_share_memory(array, other) and np.shares_memory(array, other, max_work=10**5):
                    check.find(
                        "shares-memory",
                        f"its gradient shares memory with {name}: who writes into one changes the other",
                        where=reading.names[leaf],
                    )
                    break


def _is_kept(check: Session, here: list[Reading]) -> None:
    """Look at what the first call returned: it must still be what it was then."""
    for reading in here:
        for leaf, array in reading.given.items():
            values = np.real(array).astype(np.float64).ravel()
            if not np.array_equal(values, reading.values[leaf], equal_nan=True):
                check.find(
                    "buffer-reused",
                    f"the gradient returned first was overwritten when {check.claimant.derivative} was called again: "
                    "both calls return the same memory; return a new array",
                    where=reading.names[leaf],
                    fatal=True,
                )


def _ignores_layout(check: Session, probe: Probe, cotangents: Floats, here: list[Reading]) -> None:
    """Hand out the same numbers in other memory layouts: nothing may change but by rounding."""
    claimant, told = check.claimant, set[str]()
    for words, layout in LAYOUTS.items():
        arrays = [layout(array) for array in check.point.copies()]
        if all(array.flags.c_contiguous for array in arrays):
            continue
        try:
            value = _value(check, arrays)
            there = claimant.sample(check, [layout(array) for array in check.point.copies()], cotangents, layout)
        except BudgetExhaustedError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's function raises
            if not told:
                message = f"for arguments {words} a {type(error).__name__} was raised: {error}"
                check.find("layout-refused", message)
            return
        compared = [("", probe.output.name, check.value, value)]
        compared += [(name, claimant.derivative, a, b) for name, a, b in _pairs(here, there)]
        for name, who, one, other in compared:
            apart, size = _apart(one, other)
            if name not in told and not _is_rounding(check, cotangents, here, apart, size):
                told.add(name)
                check.find(
                    "layout-dependent",
                    f"{who} gives something else for the same numbers {words}: they differ by up to {apart:.3g}, it is "
                    f"up to {size:.3g}",
                    where=name,
                    fatal=True,
                    layout=words,
                )


# ---- linear in the seed ---------------------------------------------------------------------------------------------


def is_linear(check: Session, combined: Reading, first: list[Reading], weights: Floats, ignored: set[str]) -> None:
    """Compare what a combination of seeds gives with the combination of what they give; not where it is ignored."""
    for leaf, values in combined.values.items():
        parts = [reading.values[leaf] for reading in first if leaf in reading.values]
        if len(parts) < len(first) or combined.names[leaf] in ignored:
            continue
        with np.errstate(all="ignore"):
            apart = np.max(np.abs(values - sum(w * part for w, part in zip(weights, parts, strict=True))), initial=0.0)
            size = np.max(np.abs(parts), initial=0.0)
        if apart > max(100 * combined.eps, check.rtol) * size:
            check.find(
                "not-linear",
                f"{check.claimant.derivative} is not linear in {check.claimant.seed}: a combination of two is off by "
                f"{apart:.3g}, what it gives is up to {size:.3g}",
                where=combined.names[leaf],
                fatal=True,
            )


def is_zero_for_zero(check: Session, reading: Reading, first: Reading) -> set[str]:
    """Check that zeros give zeros; return the names of leaves whose gradient does not depend on the seed at all."""
    derivative, seed, role = check.claimant.derivative, check.claimant.seed, check.claimant.role
    ignored = set()
    for leaf, values in reading.values.items():
        name = reading.names[leaf]
        if not np.any(values != 0):
            continue
        if np.array_equal(values, first.values.get(leaf)):
            ignored.add(name)
            message = f"{derivative} gives the same whatever {seed} is: it ignores it, as if it were all ones"
            check.find(f"{role}-ignored", message, where=name, fatal=True)
        else:
            message = f"{derivative} is not zero where {seed} is zero: something is added that does not depend on it"
            check.find(f"zero-{role}", message, where=name, fatal=True)
    return ignored
