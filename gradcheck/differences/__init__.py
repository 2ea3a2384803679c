"""Finite differences with error bounds: noise, steps, ladders.

Common parameters: ``probe`` evaluates ``K`` functions; ``base``, ``noise`` and ``jitter``, shape (K,), are their values
at the point, the standard deviation of the noise of a value, and by how much noise may change one; ``lengths`` holds the scale of
the elements of a leaf, shape (n,), or of each leaf; a ``direction`` is a move of some leaves; ``rng`` draws directions.
"""
