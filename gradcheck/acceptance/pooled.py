"""Evidence from several elements: an error common to a leaf, and the slope along a common move.

Noise may hide a small common error in each element, and not in their sum. And if elements tie, as in a median, moving one
of them changes nothing, while moving them together does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.counts import DOZEN
from gradcheck.differences.lengths import RATIO
from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import Probe

__all__ = [
    "CONSISTENT",
    "SIGNIFICANT",
    "CommonError",
    "fit_common_error",
    "joint_slope",
    "tied_groups",
]

SIGNIFICANT = 6.0
"""Standard deviations beyond which a common error is tested by an independent measurement, and which that must exceed too."""

CONSISTENT = 0.5
"""Two measurements of a common error agree when they differ by no more than this share of the smaller. A truncation error,
which is no error of the claim, changes more with the step."""


@dataclass(frozen=True, slots=True)
class CommonError:
    """An error of a claim that is a multiple of the claim.

    Attributes
    ----------
    share : array, shape (K,)
        The error as a multiple of the claim: 0.02 when the claim is 1.02 times the true gradient.
    deviations : array, shape (K,)
        The same in units of its standard deviation.
    """

    share: Floats
    deviations: Floats

    @property
    def significant(self) -> Bools:
        """Where noise does not explain it, shape (K,)."""
        return np.asarray(np.abs(self.deviations) > SIGNIFICANT)

    def confirmed_by(self, other: CommonError) -> Bools:
        """Where an independent measurement with another step agrees, shape (K,)."""
        distance = np.abs(self.share - other.share)
        least = np.minimum(np.abs(self.share), np.abs(other.share))
        return np.asarray(self.significant & other.significant & (distance <= CONSISTENT * least))


def fit_common_error(
    claimed: Floats, measured: Floats, deviation: Floats, places: tuple[Indices, ...], least: float = 0.0
) -> CommonError:
    """Fit the error of a claim by a multiple of the claim itself.

    Parameters
    ----------
    claimed, measured, deviation : arrays, shape (m, K)
        Elements of one leaf; ``deviation`` is the standard deviation of the noise of ``measured``.
    places : tuple of arrays, shape (m,)
        Their indices along each axis of the leaf.
    least : float
        Smaller shares need no accurate standard deviation.

    Notes
    -----
    Rounding is not independent: weights in one column of a matrix move the same unit of a layer, and round it alike. So the
    noise of elements with an index in common may be correlated, and the standard deviation is the cluster-robust one, over
    each axis, where that is larger (K.-Y. Liang and S. Zeger, "Longitudinal data analysis using generalized linear models",
    Biometrika 73 (1986)).
    """
    usable = np.isfinite(claimed) & np.isfinite(measured) & (deviation > 0)
    # A smaller slope is rounded to no change, or to a whole unit in the last place, perhaps in all elements alike.
    usable &= np.abs(claimed) > np.sqrt(2) * deviation
    enough = np.count_nonzero(usable & (claimed != 0), axis=0) >= DOZEN
    if not enough.any():
        return CommonError(np.zeros(len(enough)), np.zeros(len(enough)))
    weighted = np.where(usable, claimed / deviation, 0.0)
    error = np.where(usable, (claimed - measured) / deviation, 0.0)
    evidence = (weighted**2).sum(axis=0)
    share = (weighted * error).sum(axis=0) / evidence
    deviations = share * np.sqrt(evidence)
    matters = enough & (np.abs(deviations) > SIGNIFICANT) & (np.abs(share) > least)
    if matters.any():  # correlated noise only makes an error less significant
        unexplained = weighted * (error - share * weighted)
        variance = np.max([evidence, *(_clustered(unexplained, place) for place in places)], axis=0) / evidence**2
        deviations = share / np.sqrt(variance)
    return CommonError(np.where(enough, np.nan_to_num(share), 0.0), np.where(enough, np.nan_to_num(deviations), 0.0))


def _clustered(values: Floats, place: Indices) -> Floats:
    """Return the sum over all indices along an axis of squared sums over the elements with that index, shape (K,)."""
    count = len(np.unique(place))
    sums = np.array([np.bincount(place, weights=column) for column in values.T])
    return np.asarray((sums**2).sum(axis=1) * count / max(count - 1, 1))


def joint_slope(probe: Probe, moves: Moves, jitter: Floats) -> Floats:
    """Return the derivative along a common move where it is of first order and above the noise, else 0; shape (K,).

    Noise may change a difference of two values by ``jitter``, shape (K,). Costs 2 calls; 2 more if the functions changed.
    """
    far = probe.ray(moves, np.array([1.0, -1.0]))
    slope = (far[0] - far[1]) / 2
    seen = np.abs(slope) > jitter
    if not seen.any():
        return np.zeros_like(slope)
    near = probe.ray(moves, np.array([1.0, -1.0]) / RATIO)
    closer = RATIO * (near[0] - near[1]) / 2
    steady = np.abs(slope - closer) <= CONSISTENT * np.abs(closer) + RATIO * jitter
    return np.where(seen & steady & (np.abs(closer) > RATIO * jitter), closer, 0.0)


def tied_groups(value: NDArray[np.generic], indices: Indices) -> list[Indices]:
    """Return groups of two or more elements with exactly the same value."""
    flat = value.ravel()[indices]
    groups = [indices[flat == common] for common in np.unique(flat)]
    return [group for group in groups if len(group) >= 2]
