"""The rule of acceptance: which elements are right, wrong or undecided."""
