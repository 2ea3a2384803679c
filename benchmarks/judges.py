"""The rules by which people decide whether a gradient is right, as functions of a NumPy function and its gradient.

Each returns ``"pass"``, ``"fail"`` or ``"inconclusive"`` and the calls of the function that it took. The rules are the
peers' own: PyTorch's and SciPy's are called, JAX's and the course's are written out as published, numdifftools'
derivative is compared within its own error estimate.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import gradcheck

__all__ = ["JUDGES", "installed"]

Judge = Callable[[Callable[[Any], Any], Callable[[Any], Any], np.ndarray], str]


def ours(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
    """Return the verdict of `gradcheck.check_gradient`."""
    return gradcheck.check_gradient(f, gradient, x).verdict


def torch_gradcheck(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
    """Call ``torch.autograd.gradcheck`` with its defaults, in the dtype of the point."""
    import torch  # noqa: PLC0415 - a peer, measured where installed

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: Any) -> Any:
            ctx.save_for_backward(t)
            return torch.tensor(np.asarray(f(t.detach().numpy())).item(), dtype=t.dtype)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            (t,) = ctx.saved_tensors
            return dy * torch.tensor(np.array(gradient(t.detach().numpy())), dtype=t.dtype)

    point = torch.tensor(np.array(x), requires_grad=True)
    return "pass" if torch.autograd.gradcheck(Wrapped.apply, (point,), raise_exception=False) else "fail"


def scipy_check_grad(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
    """Call ``scipy.optimize.check_grad``; the norm of the difference must be below 1e-6 of the gradient's, or 1e-6."""
    from scipy.optimize import check_grad  # noqa: PLC0415

    def flat(z: np.ndarray) -> np.ndarray:
        return np.ravel(np.asarray(gradient(z.reshape(x.shape).astype(x.dtype)), float))

    def value(z: np.ndarray) -> float:
        return float(f(z.reshape(x.shape).astype(x.dtype)))

    z = np.ravel(x).astype(float)
    error = check_grad(value, flat, z)
    return "pass" if error <= 1e-6 * max(1.0, float(np.linalg.norm(flat(z)))) else "fail"


def numdifftools_gradient(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
    """Compare with ``numdifftools.Gradient`` within its error estimate and 1e-6 of the element."""
    import numdifftools  # noqa: PLC0415

    differentiate = numdifftools.Gradient(lambda z: float(f(z.reshape(x.shape).astype(x.dtype))), full_output=True)
    found = differentiate(np.ravel(x).astype(float))
    value, error = np.ravel(found[0]), np.ravel(found[1])
    apart = np.abs(np.ravel(np.asarray(gradient(x), float)) - value)
    return "pass" if np.all(apart <= 1e-6 * np.abs(value) + np.abs(error)) else "fail"


def jax_check_grads(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
    """Apply the rule of ``jax.test_util.check_grads``: one random direction, step 1e-4, a tolerance by dtype."""
    tolerance = {2: 1e-2, 4: 2e-3, 8: 1e-5}[x.dtype.itemsize]
    direction = np.random.default_rng(0).normal(size=x.shape)
    step = 1e-4
    ends = [float(f((x + sign * step / 2 * direction).astype(x.dtype))) for sign in (1, -1)]
    numerical, claimed = (ends[0] - ends[1]) / step, float(np.sum(np.asarray(gradient(x), float) * direction))
    return "pass" if abs(claimed - numerical) <= tolerance + tolerance * abs(numerical) else "fail"


def cs231n(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
    """Apply the rule of the Stanford course: central differences at 1e-5, relative error below 1e-4 in each element."""
    claim, worst = np.ravel(np.asarray(gradient(x), float)), 0.0
    for i in range(x.size):
        ends = []
        for sign in (1, -1):
            moved = np.array(x)
            moved.flat[i] += sign * 1e-5
            ends.append(float(f(moved)))
        numerical = (ends[0] - ends[1]) / 2e-5
        worst = max(worst, abs(claim[i] - numerical) / max(abs(claim[i]), abs(numerical), 1e-12))
    return "pass" if worst <= 1e-4 else "fail"


JUDGES: dict[str, tuple[Judge, str]] = {
    "gradcheck": (ours, "gradcheck"),
    "torch gradcheck": (torch_gradcheck, "torch"),
    "JAX check_grads": (jax_check_grads, "numpy"),
    "SciPy check_grad": (scipy_check_grad, "scipy"),
    "numdifftools": (numdifftools_gradient, "numdifftools"),
    "CS231n": (cs231n, "numpy"),
}
"""Name -> rule, and the module that it needs."""


def installed() -> dict[str, Judge]:
    """Return the judges whose module is here; a judge that raises is inconclusive."""

    def safe(judge: Judge) -> Judge:
        def verdict(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    return judge(f, gradient, x)
            except Exception:  # noqa: BLE001 - whatever a peer does with a hard function
                return "inconclusive"

        return verdict

    return {name: safe(judge) for name, (judge, module) in JUDGES.items() if importlib.util.find_spec(module)}
