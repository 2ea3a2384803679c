"""Derivatives of a library that can be found by convention, each under a check: what passes, fails, cannot be told.

``python -m benchmarks.audit LIBRARY [PATTERN]``, with LIBRARY one of scikit_learn, statsmodels, scipy, torch, jax, and PATTERN
a glob of names. A failure is a reason to look, not a finding: conventions at kinks, straight-through gradients and numerical
derivatives (a residual of few digits) fail too.
"""
