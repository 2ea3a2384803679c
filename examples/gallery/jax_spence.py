"""`jax.scipy.special.spence`: in reverse mode the gradient is NaN for every 1 < x <= 2.

The derivative is `log(x) / (1 - x)`. Values are right, and so is forward mode, except at x = 1, where both modes give 0 and the derivative is -1.
"""

import jax.numpy as jnp
from jax.scipy.special import spence

from gradcheck.jax import check_grad

RELEASE = "JAX 0.10.2"


def check():
    """Check the gradient inside and outside of that interval."""
    return check_grad(lambda x: spence(x).sum(), jnp.array([0.5, 1.2, 1.6, 2.5]))


if __name__ == "__main__":
    print(check())
