"""Evidence that no single element gives: pooled over a leaf, or from elements moved together.

A small error common to a whole leaf drowns in noise element by element, and not in their sum. And where several
elements tie, as in a median, moving any one of them alone shows nothing, although moving them together does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.lengths import RATIO
from gradcheck.functions.displacements import Moves
from gradcheck.functions.probe import Probe

__all__ = [
    "CONSISTENT",
    "FEWEST_POOLED",
    "SIGNIFICANT",
    "CommonError",
    "fit_common_error",
    "joint_slope",
    "tied_groups",
]

SIGNIFICANT = 6.0
"""Standard deviations from which a pooled error needs, and must pass, an independent measurement."""

CONSISTENT = 0.5
"""Two measurements of a pooled error agree when they differ by no more than this share of the smaller: what truncation
leaves, which is no error of the claim, changes with the step."""

FEWEST_POOLED = 8
"""Smallest number of elements in which a common error can be distinguished from noise."""


@dataclass(frozen=True, slots=True)
class CommonError:
    """By how much a claim is too large as a whole.

    Attributes
    ----------
    share : array, shape (K,)
        The error as a multiple of the claim: 0.02 when the claim is 1.02 times the true gradient.
    deviations : array, shape (K,)
        The same in standard deviations of what noise does to it, at most.
    """

    share: Floats
    deviations: Floats

    @property
    def significant(self) -> Bools:
        """Where noise is no explanation."""
        return np.asarray(np.abs(self.deviations) > SIGNIFICANT)

    def confirmed_by(self, other: CommonError) -> Bools:
        """Where an independent measurement with another step says the same."""
        apart = np.abs(self.share - other.share)
        least = np.minimum(np.abs(self.share), np.abs(other.share))
        return np.asarray(self.significant & other.significant & (apart <= CONSISTENT * least))


def fit_common_error(
    claimed: Floats, measured: Floats, deviation: Floats, places: tuple[Indices, ...], least: float = 0.0
) -> CommonError:
    """Fit the error of a claim by a multiple of the claim itself.

    Parameters
    ----------
    claimed, measured, deviation : arrays, shape (m, K)
        Elements of one leaf; ``deviation`` is the standard deviation of the noise of ``measured``.
    places : tuple of arrays, shape (m,)
        Where they are along each axis of the leaf.
    least : float
        The share from which it matters whether an error is significant.

    Notes
    -----
    Rounding is no matter of chance: weights in one column of a matrix move the same unit of a layer, and round it
    alike. So noise may be alike in all that have a place in common, along one axis or another, and the standard
    deviation of the fit is that of sums over such elements where it is larger (the cluster-robust one of K.-Y. Liang
    and S. Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73 (1986)).
    """
    usable = np.isfinite(claimed) & np.isfinite(measured) & (deviation > 0)
    enough = np.count_nonzero(usable & (claimed != 0), axis=0) >= FEWEST_POOLED
    if not enough.any():
        return CommonError(np.zeros(len(enough)), np.zeros(len(enough)))
    weighted = np.where(usable, claimed / deviation, 0.0)
    apart = np.where(usable, (claimed - measured) / deviation, 0.0)
    evidence = (weighted**2).sum(axis=0)
    share = (weighted * apart).sum(axis=0) / evidence
    deviations = share * np.sqrt(evidence)
    matters = enough & (np.abs(deviations) > SIGNIFICANT) & (np.abs(share) > least)
    if matters.any():  # else noise that is alike makes it less significant still
        unexplained = weighted * (apart - share * weighted)
        variance = np.max([evidence, *(_of_sums(unexplained, place) for place in places)], axis=0) / evidence**2
        deviations = share / np.sqrt(variance)
    return CommonError(np.where(enough, np.nan_to_num(share), 0.0), np.where(enough, np.nan_to_num(deviations), 0.0))


def _of_sums(values: Floats, place: Indices) -> Floats:
    """Return the squares of sums over what has a place in common, all of them together; shape (K,)."""
    count = len(np.unique(place))
    sums = np.array([np.bincount(place, weights=column) for column in values.T])
    return np.asarray((sums**2).sum(axis=1) * count / max(count - 1, 1))


def joint_slope(probe: Probe, moves: Moves, jitter: Floats) -> Floats:
    """Return the derivative along a common move where it is of first order and above the noise, else 0; shape (K,).

    Two values may differ by ``jitter`` through noise, shape (K,). Costs 2 calls; 2 more where something moved.
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
    """Return those elements that have exactly the same value as others of them, two at least in a group."""
    flat = value.ravel()[indices]
    groups = [indices[flat == common] for common in np.unique(flat)]
    return [group for group in groups if len(group) >= 2]
