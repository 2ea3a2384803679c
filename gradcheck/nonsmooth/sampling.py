"""Points and slopes in a small ball around the point that is checked (gradient sampling), and the elements to decide there.

Source: J. Burke, A. Lewis and M. Overton, "A robust gradient sampling algorithm for nonsmooth, nonconvex optimization",
SIAM Journal on Optimization 15 (2005).
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field

import numpy as np

from gradcheck.aliases import Bools, Floats, Indices
from gradcheck.differences.lengths import BETWEEN, CLOSEST, FIRST_STEP
from gradcheck.functions.blocks import random_signs
from gradcheck.functions.displacements import Moves
from gradcheck.functions.outputs import EachOutput
from gradcheck.functions.probe import Probe

__all__ = ["FARTHEST", "STEP", "Ball", "Flagged", "Place"]

Place = tuple[int, int]
"""Leaf and index of an element."""

FARTHEST = FIRST_STEP / float(np.sqrt(BETWEEN))
"""Largest radius of the ball, in units of an element's scale: between the first steps of the two ladders that flag an element."""

FARTHEST_IN_NOISE = 0.27
"""The same where noise hides the error within that one; slopes are known to a fifth of the error there, not to a hundredth. With 0.23
more gross errors behind large constants in single precision stay undecided."""

STEP = 0.05
"""Step of a slope, in units of the distance between two tied elements that are moved apart: short enough that most
steps cross no kink."""

SHARPNESS = 2000.0
"""Radius, in units of the noise over the error in question: noise then blurs a slope over `STEP` by 2 % of that error."""


@dataclass(slots=True)
class Flagged:
    """An element whose claim contradicts its measured derivative, or that is at a kink.

    Attributes
    ----------
    leaf, index : int
    claimed, reference, bound, gap : arrays, shape (K,)
        ``gap`` is the right minus the left derivative, 0 where they agree.
    size, stake : array, shape (K,)
        The size of the error in question; by default the larger of the claim's error and the gap. 0 where there is nothing
        to decide.
    valid, open : arrays of bool, shape (K,)
        The outcome: a valid claim at a kink; a claim that cannot be decided. If neither, the claim is wrong.
    hidden : array of bool, shape (K,)
        A wrong claim that would be valid at a kink so near that noise hides it.
    """

    leaf: int
    index: int
    claimed: Floats
    reference: Floats
    bound: Floats
    gap: Floats
    size: InitVar[Floats | None] = None
    stake: Floats = field(init=False)
    valid: Bools = field(init=False)
    open: Bools = field(init=False)
    hidden: Bools = field(init=False)

    def __post_init__(self, size: Floats | None) -> None:
        self.valid, self.hidden = (np.zeros(len(self.claimed), dtype=bool) for _ in range(2))
        self.open = ~self.valid
        if size is None:
            size = np.fmax(np.abs(self.claimed - self.reference), np.abs(self.gap))
            size = np.where(self.contradicted | (self.gap != 0), size, 0.0)
        self.stake = size

    @property
    def contradicted(self) -> Bools:
        """Where the claim lies outside the measured interval, at a kink that of the one-sided derivatives."""
        return np.asarray(np.abs(self.claimed - self.reference) > self.bound)

    def conclude(self, valid: Bools) -> None:
        """Record an outcome: valid or wrong."""
        self.valid, self.open = valid.copy(), np.zeros_like(valid)

    def slope(self, sign: float) -> Floats:
        """Return the one-sided derivative upwards (1) or downwards (-1)."""
        return np.asarray(self.reference + sign * self.gap / 2)


@dataclass(frozen=True, slots=True)
class Ball:
    """Functions, claims and scales around the point.

    Attributes
    ----------
    probe : Probe
        The functions.
    claims : dict
        For each free leaf its claim, shape (n, K).
    scales : dict
        For each free leaf the scales of its elements.
    noise : array, shape (K,)
        By how much noise may change a value.
    rng : Generator
        Draws points and directions.
    each : Probe
        The same functions, output by output where there are several.
    """

    probe: Probe
    claims: dict[int, Floats]
    scales: dict[int, Floats]
    noise: Floats
    rng: np.random.Generator
    each: Probe = field(init=False)

    def __post_init__(self) -> None:
        probe, each = self.probe, self.probe
        if self.separates_outputs:
            factors = np.ones((probe.output.size, 1))
            each = EachOutput(probe.function, probe.point, probe.output, factors, probe.budget)
        object.__setattr__(self, "each", each)

    @property
    def separates_outputs(self) -> bool:
        """Whether there are several outputs behind every column."""
        return self.probe.output.size > 1 and not isinstance(self.probe, EachOutput)

    def outputs(self, moves: Moves) -> Floats:
        """Return the outputs at a displaced point, one vector. Costs one call."""
        return np.asarray(self.each.ray(moves, np.ones(1))[0])

    def read(self, outputs: Floats, chosen: Indices | None) -> Floats:
        """Return the functions, shape (..., K), as far as some of the outputs contribute to them; None for all outputs."""
        if not self.separates_outputs:
            return outputs
        factors = self.probe.cotangents
        return np.asarray(outputs @ factors.T if chosen is None else outputs[..., chosen] @ factors[:, chosen].T)

    def at_rest(self) -> Moves:
        """Return a displacement of zero."""
        return {leaf: np.zeros_like(scale) for leaf, scale in self.scales.items()}

    def near(self, radius: float, rng: np.random.Generator | None = None) -> Moves:
        """Draw a displacement of all elements: random signs times random sizes, so that ties break in every order."""
        rng = rng or self.rng
        return {
            leaf: radius * scale * random_signs(scale.shape, rng) * rng.uniform(0.3, 1.0, scale.shape)
            for leaf, scale in self.scales.items()
        }

    def scale(self, elements: list[Flagged]) -> Floats:
        """Return the scales in units of which some elements are moved together, shape (m,), each at most its own.

        Elements of different values move so far that their errors in question change the functions equally, or some would have no
        visible effect. Equal elements of a leaf move equally, since they may be tied.
        """
        own = np.array([self.scales[element.leaf][element.index] for element in elements])
        stakes = np.array([element.stake.max(initial=0.0) for element in elements])
        values = [self.probe.point.leaves[e.leaf].value.ravel()[e.index] for e in elements]
        kinds: dict[tuple[int, object], list[int]] = {}
        for number, (element, value) in enumerate(zip(elements, values, strict=True)):
            kinds.setdefault((element.leaf, value), []).append(number)
        effects = [own[members].min() * stakes[members].max() for members in kinds.values()]
        usable = [effect for effect in effects if 0 < effect < np.inf]
        for members, effect in zip(kinds.values(), effects, strict=True):
            share = min(usable) / effect if effect in usable else 1.0
            own[members] = own[members].min() * share
        return own

    def radius(self, elements: list[Flagged]) -> float:
        """Return the smallest radius, in units of the elements' scales, at which noise does not hide the error in question."""
        stakes = self.scale(elements)[:, None] * np.array([element.stake for element in elements])
        stake = stakes.max(axis=0)
        blur = self.noise + self.rounded(elements).max(axis=0)
        needed = SHARPNESS * blur / stake  # not finite where nothing is at stake
        radius = float(np.nan_to_num(needed, nan=0.0, posinf=0.0).max())
        return float(np.clip(radius, CLOSEST, np.clip(radius / 20, FARTHEST, FARTHEST_IN_NOISE)))

    def rounded(self, elements: list[Flagged]) -> Floats:
        """Return by how much the rounding of a displacement to the parameters' dtype may change the functions, shape (m, K)."""
        leaves = self.probe.point.leaves
        rounding = [
            float(leaves[e.leaf].format.spacing(np.abs(leaves[e.leaf].value.ravel()[e.index]))) for e in elements
        ]
        slopes = np.array([np.abs(e.claimed) + np.abs(e.reference) for e in elements])
        return np.array(rounding)[:, None] * np.where(np.isfinite(slopes), slopes, 0.0)
