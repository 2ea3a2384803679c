"""What a wrong gradient looks like: explanations of the residual, each with its evidence. None when none fits.

A family of explanations (`scale`, `penalties`, `rearrangements`, `partial`, `upstreams`, ...) proposes candidates, each of
which predicts the whole claim from what was measured. `candidates` compares prediction and claim within the measured
bounds and counts the evidence; `ranking` puts all parameters together and chooses.
"""

from gradcheck.diagnosis.clues import Case, Clues
from gradcheck.diagnosis.ranking import diagnose
from gradcheck.diagnosis.shapes import cuts, explain_shape, forms_of

__all__ = ["Case", "Clues", "cuts", "diagnose", "explain_shape", "forms_of"]
