"""`x ** 0.` at x = 0 in JAX: the gradient of a constant is NaN.

The function is 1 everywhere; the rule is `0 * x ** -1`. Known and intended:
[#12409](https://github.com/jax-ml/jax/issues/12409). A polynomial with an array of exponents meets it.
"""

import jax.numpy as jnp

from gradcheck.jax import check_grad

RELEASE = "JAX 0.10.2"


def check():
    """Check a polynomial with its coefficients in an array, at zero and elsewhere."""
    powers = jnp.arange(3.0)
    return check_grad(lambda x: jnp.sum(jnp.array([2.0, 1.0, 3.0]) * x[:, None] ** powers), jnp.array([0.0, 1.5]))


if __name__ == "__main__":
    print(check())
