"""A single element moved through the ball along its own axis, and whether its claim is among the slopes met.

A kink very near may be hidden by noise, and differences with longer steps agree with each other. So an element that seems
to be wrong is scanned before it is called so, alone and with all others moved.
"""

from __future__ import annotations

import numpy as np

from gradcheck.aliases import Bools, Floats
from gradcheck.differences.counts import NEGLIGIBLE
from gradcheck.differences.lengths import RATIO
from gradcheck.functions.repeated import require_same
from gradcheck.nonsmooth.sampling import FARTHEST, Ball, Flagged

__all__ = ["has_steady_gap", "scan"]

PLACES = 18
"""Values along a scan, from -1.39 to 1.39 radii where the others lie within 1: seventeen slopes, of which a polynomial of
degree `DEGREE` leaves eleven to tell a kink by."""

DEGREE = 5
"""Degree of the polynomial subtracted from the slopes of a scan: it removes curvature where noise forbids a shorter scan."""

SPREADS = (0.0, 1.0, 1.0)
"""How far the other elements are moved in each scan, in radii."""


def scan(ball: Ball, element: Flagged) -> bool:
    """Compare the claim of an element with the slopes along its axis, record what comes out, and tell whether there is a kink.

    Notes
    -----
    Costs 54 calls where the claim is not among the slopes, else 108; as many again for each longer scan, and 18 more for a kink
    that differences did not see.

    Raises
    ------
    NotRepeatableError
        When the functions give something else where they seemed to have such a kink.
    """
    radius = ball.radius([element])
    curved = np.zeros(element.reference.shape, dtype=bool)
    while True:
        within, is_bent, left = _within(ball, element, radius)
        hidden = blurred = np.zeros_like(within)
        if not within.any():
            break
        from_afar = within
        nearer, _, more = _within(ball, element, radius / RATIO)
        within = within & nearer  # a fast oscillation looks like a kink only from afar
        # What a kink leaves of the slopes stays in a shorter scan, what noise leaves grows: where that is as large as the error
        # a longer one shows more.
        # What curvature leaves shrinks with a high power of the radius, and that of a kink, also of the slope, with the first at most.
        curved = more * RATIO**2 < left
        blurred = (more > np.sqrt(RATIO) * left) & (RATIO * left > np.abs(element.claimed - element.reference))
        if not (within & blurred).any() or radius * RATIO > FARTHEST:
            # As near as noise allows there is no kink: one may be nearer still where there are others farther away.
            hidden = from_afar & ~within & is_bent & (radius >= FARTHEST)
            break
        radius *= RATIO
    element.hidden = hidden
    element.conclude(within | ((element.gap != 0) & ~element.contradicted))
    # What still grows the nearer the scan is noise, or a pole, at which slopes of any size are met; nor is curvature a kink.
    unclear = within & (blurred | curved) & element.contradicted
    element.valid, element.open = element.valid & ~unclear, unclear
    return is_bent or bool(element.valid.any())


def has_steady_gap(ball: Ball, element: Flagged) -> Bools:
    """Tell in which columns the one-sided derivatives differ by the same at two radii, shape (K,): not so at a pole or cusp.

    Notes
    -----
    Costs five calls.
    """
    step = ball.radius([element]) * ball.scales[element.leaf][element.index]
    shifts = np.array([1.0, -1.0, 0.25, -0.25, 0.0]) * step
    values = ball.probe.line(ball.at_rest(), element.leaf, element.index, shifts)
    bends = np.array([values[0] + values[1], 4 * (values[2] + values[3])]) - np.array([[2.0], [8.0]]) * values[4]
    blur = 20 * ball.noise + step * np.abs(element.gap) / 4
    return np.asarray((element.gap == 0) | (np.abs(bends[0] - bends[1]) <= blur))


def _within(ball: Ball, element: Flagged, radius: float) -> tuple[Bools, bool, Floats]:
    """Tell where the claim is among the slopes of scans, whether there is a kink, and what the smooth parts leave of the slopes."""
    at_stake = element.stake > 0
    apart = np.abs(element.claimed - element.reference)
    low, high = np.full_like(element.reference, np.inf), np.full_like(element.reference, -np.inf)
    is_bent, left = False, np.zeros_like(apart)
    for spread in SPREADS:
        others, (shifts, unsure) = ball.near(radius * spread), _shifts(ball, element, radius)
        values = ball.probe.line(others, element.leaf, element.index, shifts)
        slopes = np.diff(values, axis=0) / np.diff(shifts)[:, None]
        smooth, middle, blur = _smooth_part(slopes)
        residual = np.ptp(slopes - smooth, axis=0)
        left = np.fmax(left, residual)
        kinked = at_stake & (residual > 0.5 * apart + unsure)
        is_bent |= bool(kinked.any())
        if (kinked & (element.gap == 0)).any():  # a value that was another one at some call looks like a kink
            require_same(ball.probe.line(others, element.leaf, element.index, shifts), values, ball.noise)
        # Without a kink the slope at the point is the derivative; with others moved it says nothing about it.
        alone = np.broadcast_to(middle if spread == 0 else np.nan, slopes.shape)
        use = kinked & np.isfinite(slopes).all(axis=0)
        slopes, unsure = np.where(use, slopes, alone), np.where(use, unsure, blur * unsure)
        # Curvature leaves as much, less in proportion to the radius.
        slack = NEGLIGIBLE * min(1.0, radius / FARTHEST) * np.ptp(slopes, axis=0)
        low = np.fmin(low, slopes.min(axis=0) - unsure - slack)
        high = np.fmax(high, slopes.max(axis=0) + unsure + slack)
    return at_stake & (element.claimed >= low) & (element.claimed <= high), is_bent, left


def _shifts(ball: Ball, element: Flagged, radius: float) -> tuple[Floats, Floats]:
    """Return the shifts of an element along a scan, as its dtype rounds them, and how noise blurs the slopes between them, shape (K,)."""
    ends = np.linspace(-1.39, 1.39, PLACES)
    scale = ball.scales[element.leaf][element.index]
    leaf = ball.probe.point.leaves[element.leaf]
    value = leaf.value.ravel()[element.index]
    shifts = np.asarray((leaf.format.rounded(value + ends * radius * scale) - value).astype(np.float64))
    return shifts, 2 * ball.noise / ((ends[1] - ends[0]) * radius * scale)


def _smooth_part(slopes: Floats) -> tuple[Floats, Floats, float]:
    """Fit the columns of ``slopes``, equally spaced, by a polynomial: return its values, and that in the middle.

    Its residual tells kinks, at which slopes jump, from curvature. The last number is by how much the values that the
    slopes are differences of blur the middle, in units of what they blur a slope.
    """
    powers = np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, len(slopes)), DEGREE)
    fit = powers @ np.linalg.pinv(powers)
    smooth, middle = fit @ slopes, len(slopes) // 2
    blur = float(np.linalg.norm(np.diff(fit[middle], prepend=0.0, append=0.0)) / np.sqrt(2))
    return np.asarray(smooth), np.asarray(smooth[middle]), blur
