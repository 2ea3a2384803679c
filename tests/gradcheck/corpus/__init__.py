"""Gradients whose truth is known, as data: right but hard ones that must pass, and wrong ones that must fail.

Each module holds one family: a function ``cases(seed)`` that draws points, sizes and bugs from its seed, so that any
number of cases can be had that nobody has looked at. The truth comes from closed forms, higher precision (mpmath) or
complex arithmetic, never from finite differences.
"""
