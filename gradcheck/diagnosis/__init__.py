"""What a wrong gradient looks like: explanations of the residual, each with its evidence. None when none fits.

A family of explanations (`scale`, `penalties`, `rearrangements`, `partial`, `precision`, `layers`) proposes candidates, each of
which predicts the whole claim from what was measured. `candidates` compares prediction and claim within the measured
bounds and counts the evidence; `ranking` puts all parameters together and chooses.
"""

from gradcheck.diagnosis.clues import Case, Clues
from gradcheck.diagnosis.gathering import gather, stacked
from gradcheck.diagnosis.ranking import diagnose

__all__ = ["Case", "Clues", "diagnose", "gather", "stacked"]
