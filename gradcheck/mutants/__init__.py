"""Gradient bugs as data, planted in any function that returns a gradient, and a score for tests of gradients.

`CATALOGUE` has the bugs; `mutants_of` chooses those that a function's gradient can have, from one call of it; `wrap`
plants one. `mutation_score` (also `gradcheck.mutation_score`) counts which of them a check catches.
"""

from gradcheck.mutants.behaviours import Accuracy
from gradcheck.mutants.catalogue import CATALOGUE, Entry, Mutant
from gradcheck.mutants.planting import Mutated, mutants_of, wrap
from gradcheck.mutants.points import POINTS
from gradcheck.mutants.score import MutationOptions, MutationScore, mutation_score

__all__ = [
    "CATALOGUE",
    "POINTS",
    "Accuracy",
    "Entry",
    "Mutant",
    "Mutated",
    "MutationOptions",
    "MutationScore",
    "mutants_of",
    "mutation_score",
    "wrap",
]
