"""The rules by which people decide whether a gradient is right: ours and the peers'.

PyTorch, JAX, SciPy, Warp and OpenMDAO judge a layer, ``forward(*inputs) -> (y, cache)`` and ``backward(dy, cache)``, in their own words;
a scalar function with its gradient is such a layer. numdifftools' derivative is compared within its own error estimate,
and the course's rule is written out as published.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import gradcheck

__all__ = ["LAYER_JUDGES", "Outcome", "installed", "several"]

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[[Any, Any], Any]
Judge = Callable[[Callable[[Any], Any], Callable[[Any], Any], np.ndarray], str]


class Outcome(NamedTuple):
    """``"pass"`` or ``"fail"``, and what is said."""

    verdict: str
    message: str = ""


def several(gradients: Any) -> tuple[Any, ...]:
    """Return what a backward gave as a tuple, one gradient for each input."""
    return gradients if isinstance(gradients, tuple) else (gradients,)


# ---- of a layer -------------------------------------------------------------------------------------------------------


def torch_gradcheck(forward: Forward, backward: Backward, *inputs: np.ndarray) -> Outcome:
    """Call ``torch.autograd.gradcheck`` with its defaults, in the dtype of the first input."""
    import torch  # noqa: PLC0415 - a peer, measured where installed
    from torch.autograd.gradcheck import GradcheckError  # noqa: PLC0415

    dtype = inputs[0].dtype

    def tensor(array: Any) -> Any:
        return torch.from_numpy(np.asarray(array, dtype=dtype, order="C"))

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            y, ctx.cache = forward(*(t.detach().numpy() for t in tensors))
            return tensor(y)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return tuple(tensor(gradient) for gradient in several(backward(dy.numpy(), ctx.cache)))

    points = tuple(torch.tensor(np.array(x), requires_grad=True) for x in inputs)
    try:
        torch.autograd.gradcheck(Wrapped.apply, points)
    except GradcheckError as error:
        return Outcome("fail", str(error))
    return Outcome("pass")


def jax_check_grads(forward: Forward, backward: Backward, *inputs: np.ndarray) -> Outcome:
    """Call ``jax.test_util.check_grads`` in reverse mode with its defaults, in the dtypes of the inputs."""
    import jax  # noqa: PLC0415
    from jax.test_util import check_grads  # noqa: PLC0415

    jax.config.update("jax_enable_x64", True)
    dtype = inputs[0].dtype

    def value(*arrays: Any) -> np.ndarray:
        return np.asarray(forward(*(np.array(array) for array in arrays))[0], dtype)

    def gradients(dy: Any, *arrays: Any) -> tuple[np.ndarray, ...]:
        _, cache = forward(*(np.array(array) for array in arrays))
        return tuple(np.asarray(gradient, dtype) for gradient in several(backward(np.array(dy), cache)))

    y = value(*inputs)

    @jax.custom_vjp
    def layer(*arrays: Any) -> Any:
        return jax.pure_callback(value, jax.ShapeDtypeStruct(y.shape, dtype), *arrays)

    def pull_back(arrays: Any, dy: Any) -> Any:
        return jax.pure_callback(gradients, tuple(jax.ShapeDtypeStruct(x.shape, dtype) for x in inputs), dy, *arrays)

    layer.defvjp(lambda *arrays: (layer(*arrays), arrays), pull_back)
    try:
        check_grads(layer, inputs, order=1, modes=("rev",))
    except AssertionError as error:
        return Outcome("fail", str(error))
    return Outcome("pass")


def scipy_check_grad(forward: Forward, backward: Backward, *inputs: np.ndarray) -> Outcome:
    """Call ``scipy.optimize.check_grad`` on ``sum(dy * y)`` for a fixed random ``dy``, which is 1 where ``y`` is a scalar.

    It returns the norm of the difference and leaves the verdict to its caller: here that is below 1e-6, or below 1e-6
    of the gradient's norm.
    """
    from scipy.optimize import check_grad  # noqa: PLC0415

    ends = np.cumsum([x.size for x in inputs])[:-1]
    y = np.asarray(forward(*(np.array(x) for x in inputs))[0])
    dy = np.random.default_rng(0).normal(size=y.shape).astype(y.dtype) if y.ndim else np.ones((), y.dtype)

    def arrays(z: np.ndarray) -> list[np.ndarray]:
        parts = np.split(z, ends)
        return [part.reshape(x.shape).astype(x.dtype) for part, x in zip(parts, inputs, strict=True)]

    def value(z: np.ndarray) -> float:
        return float(np.sum(dy * forward(*arrays(z))[0], dtype=float))

    def flat(z: np.ndarray) -> np.ndarray:
        _, cache = forward(*arrays(z))
        return np.concatenate(
            [np.ravel(np.asarray(gradient, float)) for gradient in several(backward(dy.copy(), cache))]
        )

    z = np.concatenate([np.ravel(x).astype(float) for x in inputs])
    error = check_grad(value, flat, z)
    close = error <= 1e-6 * max(1.0, float(np.linalg.norm(flat(z))))
    return Outcome("pass" if close else "fail", f"{error:.3g}")


def warp_gradcheck(forward: Forward, backward: Backward, *inputs: np.ndarray) -> Outcome:
    """Call ``warp.autograd.gradcheck`` with its defaults, of a function that records its own backward on Warp's tape."""
    import warp  # noqa: PLC0415
    from warp.autograd import gradcheck as check  # noqa: PLC0415

    warp.config.quiet = True
    dtype = warp.dtype_from_numpy(inputs[0].dtype)

    def function(*arrays: Any) -> Any:
        points = [a.numpy().reshape(x.shape).copy() for a, x in zip(arrays, inputs, strict=True)]
        y, cache = forward(*points)
        out = warp.array(np.ravel(y), dtype=dtype, requires_grad=True)

        def pull_back() -> None:
            gradients = several(backward(out.grad.numpy().reshape(np.shape(y)), cache))
            for array, gradient in zip(arrays, gradients, strict=True):
                array.grad.assign(array.grad.numpy() + np.ravel(gradient))

        tape = warp._src.context.runtime.tape  # noqa: SLF001 - the tape of the check, which has no public name
        if tape is not None:
            tape.record_func(pull_back, [*arrays, out])
        return out

    points = [warp.array(np.ravel(x), dtype=dtype, requires_grad=True) for x in inputs]
    try:
        check(function, inputs=points, show_summary=False)
    except ValueError as error:
        return Outcome("fail", str(error))
    return Outcome("pass")


def openmdao_check_partials(forward: Forward, backward: Backward, *inputs: np.ndarray) -> Outcome:
    """Call OpenMDAO's ``check_partials`` and ``assert_check_partials`` with their defaults, of a component with the Jacobian."""
    import openmdao.api as om  # noqa: PLC0415
    from openmdao.utils.assert_utils import assert_check_partials  # noqa: PLC0415

    names = [f"x{i}" for i in range(len(inputs))]
    y0 = np.asarray(forward(*(np.array(x) for x in inputs))[0])

    class Layer(om.ExplicitComponent):
        def setup(self) -> None:
            for name, x in zip(names, inputs, strict=True):
                self.add_input(name, val=np.array(x))
            self.add_output("y", shape=y0.shape or (1,))
            self.declare_partials("*", "*")

        def compute(self, given: Any, outputs: Any) -> None:
            outputs["y"] = forward(*self._points(given))[0]

        def compute_partials(self, given: Any, partials: Any) -> None:
            _, cache = forward(*self._points(given))
            rows = []
            for k in range(max(y0.size, 1)):
                dy = np.zeros(y0.size, y0.dtype)
                dy[k] = 1
                rows.append(several(backward(dy.reshape(y0.shape), cache)))
            for i, name in enumerate(names):
                partials["y", name] = np.stack([np.ravel(row[i]) for row in rows])

        def _points(self, given: Any) -> list[np.ndarray]:
            return [given[n].reshape(x.shape).astype(x.dtype) for n, x in zip(names, inputs, strict=True)]

    problem = om.Problem(reports=False)
    problem.model.add_subsystem("layer", Layer())
    problem.setup()
    problem.run_model()
    try:
        assert_check_partials(problem.check_partials(out_stream=None))
    except ValueError as error:
        return Outcome("fail", "\n".join(line for line in str(error).splitlines() if line.strip("=+- ")))
    return Outcome("pass")


LAYER_JUDGES: dict[str, tuple[Callable[..., Outcome], str]] = {
    "torch gradcheck": (torch_gradcheck, "torch"),
    "JAX check_grads": (jax_check_grads, "jax"),
    "SciPy check_grad": (scipy_check_grad, "scipy"),
    "Warp gradcheck": (warp_gradcheck, "warp"),
    "OpenMDAO check_partials": (openmdao_check_partials, "openmdao"),
}
"""Name -> rule, and the module that it needs."""


# ---- of the gradient of a scalar function -----------------------------------------------------------------------------


def _of_gradient(judge: Callable[..., Outcome]) -> Judge:
    """Let a judge of layers judge the gradient of a scalar function."""

    def verdict(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
        return judge(lambda x: (f(x), np.array(x)), lambda dy, x: dy * np.array(gradient(x)), x).verdict

    return verdict


def ours(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
    """Return the verdict of `gradcheck.check_gradient`."""
    return gradcheck.check_gradient(f, gradient, x).verdict


def numdifftools_gradient(f: Callable[[Any], Any], gradient: Callable[[Any], Any], x: np.ndarray) -> str:
    """Compare with ``numdifftools.Gradient`` within its error estimate and 1e-6 of the element."""
    import numdifftools  # noqa: PLC0415

    differentiate = numdifftools.Gradient(lambda z: float(f(z.reshape(x.shape).astype(x.dtype))), full_output=True)
    found = differentiate(np.ravel(x).astype(float))
    value, error = np.ravel(found[0]), np.ravel(found[1])
    apart = np.abs(np.ravel(np.asarray(gradient(x), float)) - value)
    return "pass" if np.all(apart <= 1e-6 * np.abs(value) + np.abs(error)) else "fail"


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
    **{name: (_of_gradient(judge), module) for name, (judge, module) in LAYER_JUDGES.items()},
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
