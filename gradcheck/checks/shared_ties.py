"""Parameters that are right by themselves at a kink that they share with a wrong one.

Where elements of several parameters tie, their claims may be contradicted together and none alone: any of them may be
wrong. One that is wrong at another point, where nothing ties, is; one that is right there is judged again without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.rule import Claim, Judgement, judge
from gradcheck.checks.check import Check
from gradcheck.checks.second_point import AWAY, CERTAIN, disagreement
from gradcheck.differences.ladder import lengths_of
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.probe import BudgetExhaustedError, Probe

__all__ = ["judge_without_others"]

Floats = NDArray[np.float64]


def judge_without_others(
    check: Check, probe: Probe, base: Floats, claims: dict[int, Claim], judgements: dict[int, Judgement]
) -> dict[int, Judgement]:
    """Judge parameters anew that are wrong at kinks only, without others that explain it.

    Notes
    -----
    Costs nothing unless two parameters are wrong, one of them at kinks only; else a gradient and some twenty calls for each,
    and those of judging what is right at the other point.
    """
    wrong = [leaf for leaf, found in judgements.items() if np.any(found.wrong)]
    at_kinks = [leaf for leaf in wrong if np.all(judgements[leaf].gap[judgements[leaf].wrong] != 0)]
    if len(wrong) < 2 or not at_kinks or check.claimant.is_given or not check.claimant.is_whole:
        return judgements
    rng, one = check.settings.rng, probe.with_cotangents(probe.cotangents[:1])
    arrays = check.point.moved(AWAY[0], rng)
    there = _claimed_there(check, arrays, one.cotangents)
    if not all(leaf in there for leaf in wrong):
        return judgements
    seen = disagreement(
        check,
        one,
        arrays,
        {leaf: replace(claims[leaf], values=there[leaf][:, None]) for leaf in wrong},
        [{leaf: lengths_of(arrays[leaf]) * rng.choice([-1.0, 1.0], arrays[leaf].size)} for leaf in wrong],
        np.max([found.noise_of_f for found in judgements.values()], axis=0)[:1],
    )
    apart, allowed = np.abs(seen.apart[:, 0]), seen.allowed[:, 0]
    wrong_there = (apart > CERTAIN * allowed) & ~seen.kink[:, 0]
    others = {leaf: claims[leaf] for leaf, ok in zip(wrong, apart <= allowed, strict=True) if ok and leaf in at_kinks}
    if not np.any(wrong_there) or not others:
        return judgements
    found = judge(probe, base, others, rtol=check.rtol, rng=rng, sampled=False)
    return judgements | {leaf: again for leaf, again in found.items() if not np.any(again.wrong)}


def _claimed_there(check: Check, arrays: list[NDArray[Any]], cotangents: Floats) -> dict[int, Floats]:
    """Return what is claimed at another point; nothing where that raises."""
    try:
        with at_our_own_points():
            return check.claimant.sample(check, check.point.hand([a.copy() for a in arrays]), cotangents)[0].values
    except BudgetExhaustedError:
        raise
    except Exception:  # noqa: BLE001 - whatever the user's functions raise at a point that nobody asked for
        return {}
