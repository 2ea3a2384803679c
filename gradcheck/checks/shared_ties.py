"""Parameters that are right, at a kink that they share with a wrong one.

Where elements of several parameters tie, their claims may be contradicted only together, by which any of them may be
wrong. All are compared at another point without ties; those that are right there are judged again without the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.acceptance.rule import Claim, Judgement, judge
from gradcheck.aliases import Floats
from gradcheck.checks.check import Check
from gradcheck.checks.second_point import AWAY, CERTAIN, disagreement
from gradcheck.differences.lengths import lengths_of
from gradcheck.functions.blocks import random_signs
from gradcheck.functions.float_errors import at_our_own_points
from gradcheck.functions.probe import BudgetExhaustedError, Probe

__all__ = ["judge_without_others"]


def judge_without_others(
    check: Check, probe: Probe, base: Floats, claims: dict[int, Claim], judgements: dict[int, Judgement]
) -> dict[int, Judgement]:
    """Judge once more the parameters that are wrong at kinks only, without those that are wrong at another point too.

    Notes
    -----
    Costs nothing unless two parameters are wrong, one of them at kinks only. Otherwise one gradient, some twenty calls for
    each wrong parameter, and the calls of judging again those that are right at the other point.
    """
    wrong = [leaf for leaf, found in judgements.items() if found.wrong.any()]
    at_kinks = [leaf for leaf in wrong if (judgements[leaf].gap[judgements[leaf].wrong] != 0).all()]
    if len(wrong) < 2 or not at_kinks or check.subject.is_given or not check.subject.is_whole:
        return judgements
    rng, row = check.settings.rng, check.drawn[:1]
    one = Probe(probe.function, probe.point, probe.output, row, probe.budget)
    arrays = check.point.moved(AWAY[0], rng)
    there = _claimed_there(check, arrays, one.cotangents)
    if not all(leaf in there for leaf in wrong):
        return judgements
    noise = np.max([found.noise_of_f for found in judgements.values()], axis=0)
    seen = disagreement(
        check,
        one,
        arrays,
        {leaf: replace(claims[leaf], values=there[leaf][:, None]) for leaf in wrong},
        [{leaf: lengths_of(arrays[leaf]) * random_signs(arrays[leaf].size, rng)} for leaf in wrong],
        np.linalg.norm(row * noise, axis=1) if check.is_each else noise[:1],
    )
    apart, allowed = np.abs(seen.apart[:, 0]), seen.allowed[:, 0]
    wrong_there = (apart > CERTAIN * allowed) & ~seen.kink[:, 0]
    others = {leaf: claims[leaf] for leaf, ok in zip(wrong, apart <= allowed, strict=True) if ok and leaf in at_kinks}
    if not wrong_there.any() or not others:
        return judgements
    found = judge(probe, base, others, rtol=check.rtol, rng=rng, sampled=False)
    return judgements | {leaf: again for leaf, again in found.items() if not again.wrong.any()}


def _claimed_there(check: Check, arrays: list[NDArray[Any]], cotangents: Floats) -> dict[int, Floats]:
    """Return the claims at another point, each of shape (n,); none if the function raises there."""
    try:
        with at_our_own_points():
            return check.subject.sample(check, check.point.hand([a.copy() for a in arrays]), cotangents)[0].values
    except BudgetExhaustedError:
        raise
    except Exception:  # noqa: BLE001 - the user's functions need not be defined at a point of our choice
        return {}
