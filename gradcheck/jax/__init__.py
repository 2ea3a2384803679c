"""Derivatives of JAX functions: automatic, ``custom_vjp`` and ``custom_jvp``, in both modes and in second order.

Differences are taken of the same function in float64, whether or not JAX is set to it, so that a float32 derivative is judged
at float32's accuracy. Forward and reverse mode are compared with each other too, which takes no step at all.
"""

from __future__ import annotations

from gradcheck.errors import needing

with needing("jax", __name__):
    from gradcheck.jax.checks import assert_grad, check_grad

__all__ = ["assert_grad", "check_grad"]
