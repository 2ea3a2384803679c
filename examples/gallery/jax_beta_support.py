"""`jax.scipy.stats.beta.pdf` outside of [0, 1]: the gradient by a shape parameter is NaN, and should be zero.

The density is constant there, zero. By `b` for x > 1 and by `a` for x < 0; by `x` it is right, and so is forward mode. `pareto.pdf` and `chi2.pdf` below zero and
`truncnorm.cdf` beyond its bounds have the same: the branch that is not taken has a gradient that is not finite, and `where` multiplies it by
zero. `gamma`, `expon` and `uniform` are right. Found by `python -m benchmarks.audit jax`.
"""

import jax
import jax.numpy as jnp
from jax.scipy.stats import beta, norm

from gradcheck.jax import check_grad

RELEASE = "JAX 0.10.2"


def mixture(params, x):
    """Return the log-likelihood of shares, of which some are measured badly: a beta and a wide normal density."""
    a, b = params["a"], params["b"]
    return jnp.sum(jnp.log(0.9 * beta.pdf(x, a, b) + 0.1 * norm.pdf(x, 0.5, 0.5)))


def check():
    """Check the gradient at three shares, one of them measured as 1.04."""
    return check_grad(mixture, {"a": 2.5, "b": 1.5}, jnp.array([0.3, 0.8, 1.04]))


def consequence():
    """Take one step of ascent, which is all that it takes."""
    params, x = {"a": 2.5, "b": 1.5}, jnp.array([0.3, 0.8, 1.04])
    after = jax.tree.map(lambda p, g: float(p + 0.1 * g), params, jax.grad(mixture)(params, x))
    return f"log-likelihood before a step of ascent: {mixture(params, x):.4f}, after it: {mixture(after, x):.4f}"


if __name__ == "__main__":
    print(check())
    print(consequence())
