"""Which explanations are given: those with enough evidence, of one parameter or of all together, the simplest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gradcheck.diagnosis.adjoints import not_transposed
from gradcheck.diagnosis.candidates import Candidate, Weighed, weigh
from gradcheck.diagnosis.clues import Case, Clues
from gradcheck.diagnosis.copies import copies
from gradcheck.diagnosis.elementwise import elementwise
from gradcheck.diagnosis.indices import overwritten
from gradcheck.diagnosis.layers import activations, upstream_sums
from gradcheck.diagnosis.mixtures import mixtures
from gradcheck.diagnosis.near_ties import near_ties
from gradcheck.diagnosis.offsets import balances, few_offsets, offsets
from gradcheck.diagnosis.overwrites import lost_upstreams
from gradcheck.diagnosis.partial import parts, slice_ratios
from gradcheck.diagnosis.penalties import only_penalties, penalties, two_terms
from gradcheck.diagnosis.precision import approximations, computations, truncations
from gradcheck.diagnosis.projections import projections
from gradcheck.diagnosis.rearrangements import of_other_parameters, packings, permutations, rearrangements, repeated
from gradcheck.diagnosis.scale import DROPPED, absences, factors, parametrisations, ratios
from gradcheck.diagnosis.undone import running_sums, sampled_permutations
from gradcheck.diagnosis.upstreams import forgotten_outputs, upstream_factors, upstream_slices, upstreams
from gradcheck.reports.report import Diagnosis

__all__ = ["diagnose"]

Family = Callable[[Clues, Case], Iterator[Candidate]]

OVERALL: list[Family] = [ratios, parametrisations, penalties, two_terms]
"""Families whose explanation may hold for all parameters together."""

FAMILIES: list[Family] = [
    absences,
    copies,
    activations,
    upstream_sums,
    overwritten,
    *OVERALL,
    elementwise,
    rearrangements,
    of_other_parameters,
    truncations,
    factors,
    upstreams,
    upstream_factors,
    upstream_slices,
    forgotten_outputs,
    not_transposed,
    lost_upstreams,
    repeated,
    running_sums,
    near_ties,
    parts,
    packings,
    permutations,
    sampled_permutations,
    offsets,
    few_offsets,
    balances,
    slice_ratios,
    projections,
    mixtures,
    only_penalties,
    computations,
    approximations,
]

MOST_SHOWN, AS_SIMPLE = 3, 1.5
"""Explanations that are given at most, and digits by which another explanation may cost more than the first and still be given."""

MOST_EXPLAINED, MOST_TOLD = 40, 2000
"""Largest number of wrong parameters that are explained (a report shows fewer), and that are tested for a common factor."""


def diagnose(case: Case) -> dict[str, tuple[Diagnosis, ...]]:
    """Explain what is wrong with each parameter.

    Parameters
    ----------
    case : Case
        Everything that the check found.

    Returns
    -------
    diagnoses : dict
        Name -> at most three explanations, best first; only for parameters for which there is one.

    Notes
    -----
    Calls backward for some turned upstreams where the case has a way to; f is not called.
    """
    explicable = [clues for clues in case.parameters.values() if clues.is_explicable]
    wrong = explicable[:MOST_EXPLAINED]
    weighed = {clues.name: list(_weighed(clues, case, FAMILIES)) for clues in wrong}
    together = _together(wrong)
    known = [w.candidate for found in weighed.values() for w in found if w.is_enough]
    if together is not None:
        known += [w.candidate for w in _weighed(together, case, OVERALL) if w.is_enough or _is_common(w.candidate)]
    found = {
        name: _chosen(mine, known, [theirs for other, theirs in weighed.items() if other != name])
        for name, mine in weighed.items()
    }
    for clues in explicable[MOST_EXPLAINED:MOST_TOLD]:
        found[clues.name] = _chosen(list(_weighed(clues, case, [ratios])), known, list(weighed.values()))
    for clues in case.parameters.values():
        if clues.is_absent and not found.get(clues.name):
            found[clues.name] = (Diagnosis(kind="dropped", message=DROPPED, fit=1.0),)
        elif clues.is_at_kinks:
            found[clues.name] = (_of_kinks(clues),)
    return {name: diagnoses for name, diagnoses in found.items() if diagnoses}


def _is_common(candidate: Candidate) -> bool:
    """Whether one ratio, known to five digits, holds for all wrong parameters: a fact, however few numbers show it."""
    return (
        candidate.key == "ratio"
        and candidate.kind == "constant-ratio"
        and candidate.factor_error <= 1e-5 * abs(candidate.factor)
    )


def _of_kinks(clues: Clues) -> Diagnosis:
    """Say that all wrong elements are at kinks; which of several values would be right there cannot be told."""
    count = int(np.count_nonzero(np.any(clues.wrong, axis=0)))
    message = (
        f"the gradient is wrong only in {count} element{'s' if count > 1 else ''} at ties or kinks of f: what it claims is none of the "
        "slopes on either side, nor between them; elements that tie share one gradient, and not each gets all of it"
    )
    return Diagnosis(kind="ties-only", message=message, fit=1.0, evidence={"elements": count})


def _weighed(clues: Clues, case: Case, families: list[Family]) -> Iterator[Weighed]:
    for family in families:
        for candidate in family(clues, case):
            weighed = weigh(clues, candidate)
            if weighed is not None:
                yield weighed


def _together(wrong: list[Clues]) -> Clues | None:
    """Return all wrong parameters as one long one, so that one explanation of all of them is seen."""
    if len(wrong) < 2 or any(clues.value is None or clues.value.shape != clues.shape for clues in wrong):
        return None

    rows = len(wrong[0].claimed)
    return Clues(
        name="",
        claimed=np.concatenate([clues.claimed.reshape(rows, -1) for clues in wrong], axis=1),
        reference=np.concatenate([clues.reference.reshape(rows, -1) for clues in wrong], axis=1),
        margin=np.concatenate([clues.margin.reshape(rows, -1) for clues in wrong], axis=1),
        wrong=np.concatenate([clues.wrong.reshape(rows, -1) for clues in wrong], axis=1),
        kink=np.concatenate([clues.kink.reshape(rows, -1) for clues in wrong], axis=1),
        value=np.concatenate([clues.value.ravel() for clues in wrong if clues.value is not None]),
    )


def _chosen(found: list[Weighed], known: list[Candidate], others: list[list[Weighed]]) -> tuple[Diagnosis, ...]:
    """Choose at most three explanations of one parameter: those that hold for all parameters first, then the simplest."""
    enough = [w for w in found if w.is_enough]
    enough += [
        w
        for w in found
        if not w.is_enough and w.is_confirmed and any(w.candidate.agrees_with(other) for other in known)
    ]
    if any(not w.candidate.is_generic for w in enough):
        enough = [w for w in enough if not w.candidate.is_generic]
    if any(w.candidate.kind == "slice-ratios" for w in enough):  # which says where the wrong slices are, and more
        enough = [w for w in enough if w.candidate.kind != "slices"]
    if any(
        not w.candidate.is_observation or w.candidate.kind == "truncated" for w in enough
    ):  # which explains the values
        enough = [w for w in enough if w.candidate.kind != "unbalanced"]

    def rank(w: Weighed) -> tuple[float, bool, float]:
        is_shared = all(any(w.candidate.agrees_with(v.candidate) for v in other) for other in others)
        return -round(w.fit, 2), not is_shared, w.candidate.cost

    enough.sort(key=rank)
    chosen: dict[str, Diagnosis] = {}
    for w in enough:
        if w.candidate.cost <= enough[0].candidate.cost + AS_SIMPLE:
            diagnosis = Diagnosis(
                kind=w.candidate.kind, message=w.candidate.message, fit=min(1.0, w.fit), evidence=w.candidate.evidence
            )
            chosen.setdefault(diagnosis.message, diagnosis)
    return tuple(chosen.values())[:MOST_SHOWN]
