"""Scans of a single element along its axis through the ball: whether its claim is among the slopes met.

Noise may hide a very near kink while differences with longer steps agree with each other. So an element is scanned, alone
and with all others moved, before it is called wrong.
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
"""Number of values along a scan, from -1.39 to 1.39 radii: seventeen slopes, of which a polynomial of degree `DEGREE` leaves
eleven degrees of freedom to detect a kink."""

DEGREE = 5
"""Degree of the polynomial subtracted from the slopes of a scan, to remove curvature."""

SPREADS = (0.0, 1.0, 1.0)
"""How far the other elements are moved in each scan, in radii."""


def scan(ball: Ball, element: Flagged) -> bool:
    """Compare the claim of an element with the slopes along its axis, record the outcome in it, and tell whether there is a kink.

    Notes
    -----
    Costs 54 calls if the claim is not among the slopes, else 108; as many again for each longer scan, and 18 more for a kink
    that differences did not see.

    Raises
    ------
    NotRepeatableError
        When the values that seemed to show such a kink do not repeat.
    """
    radius = ball.radius([element])
    curved = np.zeros(element.reference.shape, dtype=bool)
    while True:
        within, has_kink, left = _within(ball, element, radius)
        hidden = blurred = np.zeros_like(within)
        if not within.any():
            break
        from_afar = within
        nearer, _, more = _within(ball, element, radius / RATIO)
        within = within & nearer  # a fast oscillation looks like a kink only from afar
        # In a shorter scan the residual of a kink in the value stays, that of a kink in the slope falls with the radius, that of
        # curvature with a high power of it, and that of noise grows. If noise leaves as much as the error a longer scan shows more.
        curved = more * RATIO**2 < left
        blurred = (more > np.sqrt(RATIO) * left) & (RATIO * left > np.abs(element.claimed - element.reference))
        if not (within & blurred).any() or radius * RATIO > FARTHEST:
            # No kink as near as noise allows to look; where there are kinks farther away, one may be nearer still.
            hidden = from_afar & ~within & has_kink & (radius >= FARTHEST)
            break
        radius *= RATIO
    element.hidden = hidden
    element.conclude(within | ((element.gap != 0) & ~element.contradicted))
    # A residual that still grows in shorter scans is noise, or a pole, near which slopes of any size occur.
    unclear = within & (blurred | curved) & element.contradicted
    element.valid, element.open = element.valid & ~unclear, unclear
    return has_kink or bool(element.valid.any())


def has_steady_gap(ball: Ball, element: Flagged) -> Bools:
    """Tell for which functions the gap of one-sided slopes is the same at two radii, shape (K,): not at a pole or cusp.

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
    """Tell where the claim is among the slopes of scans, whether there is a kink, and how far slopes lie from a smooth fit."""
    at_stake = element.stake > 0
    error = np.abs(element.claimed - element.reference)
    low, high = np.full_like(element.reference, np.inf), np.full_like(element.reference, -np.inf)
    has_kink, left = False, np.zeros_like(error)
    for spread in SPREADS:
        others, (shifts, width) = ball.near(radius * spread), _shifts(ball, element, radius)
        values = ball.probe.line(others, element.leaf, element.index, shifts)
        # With other elements moved, the values may be far larger, and so their rounding; if it hides the error the scan is useless.
        rounding = ball.probe.output.eps * np.abs(values).max(axis=0)
        uncertainty = 2 * np.fmax(ball.noise, rounding) / width
        if spread and not (at_stake & (uncertainty < error)).any():
            continue
        slopes = np.diff(values, axis=0) / np.diff(shifts)[:, None]
        smooth, middle, blur = _smooth_part(slopes)
        residual = np.ptp(slopes - smooth, axis=0)
        left = np.fmax(left, residual)
        kinked = at_stake & (residual > 0.5 * error + uncertainty)
        has_kink |= bool(kinked.any())
        if (kinked & (element.gap == 0)).any():  # a single value that does not repeat looks like a kink
            require_same(ball.probe.line(others, element.leaf, element.index, shifts), values, ball.noise)
        # Without a kink the slope at the point is the derivative; with other elements moved it is not.
        alone = np.broadcast_to(middle if spread == 0 else np.nan, slopes.shape)
        use = kinked & np.isfinite(slopes).all(axis=0)
        slopes, uncertainty = np.where(use, slopes, alone), np.where(use, uncertainty, blur * uncertainty)
        # The residual of curvature, in proportion to the radius.
        slack = NEGLIGIBLE * min(1.0, radius / FARTHEST) * np.ptp(slopes, axis=0)
        low = np.fmin(low, slopes.min(axis=0) - uncertainty - slack)
        high = np.fmax(high, slopes.max(axis=0) + uncertainty + slack)
    return at_stake & (element.claimed >= low) & (element.claimed <= high), has_kink, left


def _shifts(ball: Ball, element: Flagged, radius: float) -> tuple[Floats, float]:
    """Return the shifts of an element along a scan, rounded to its dtype, and the distance between them."""
    ends = np.linspace(-1.39, 1.39, PLACES)
    scale = ball.scales[element.leaf][element.index]
    leaf = ball.probe.point.leaves[element.leaf]
    value = leaf.value.ravel()[element.index]
    shifts = np.asarray((leaf.format.rounded(value + ends * radius * scale) - value).astype(np.float64))
    return shifts, float((ends[1] - ends[0]) * radius * scale)


def _smooth_part(slopes: Floats) -> tuple[Floats, Floats, float]:
    """Fit the columns of ``slopes``, equally spaced, by a polynomial: return its values, and the one in the middle.

    The third result is the noise of the middle in units of the noise of a slope.
    """
    powers = np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, len(slopes)), DEGREE)
    fit = powers @ np.linalg.pinv(powers)
    smooth, middle = fit @ slopes, len(slopes) // 2
    blur = float(np.linalg.norm(np.diff(fit[middle], prepend=0.0, append=0.0)) / np.sqrt(2))
    return np.asarray(smooth), np.asarray(smooth[middle]), blur
