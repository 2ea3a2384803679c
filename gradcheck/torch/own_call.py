"""PyTorch's own call: ``gradcheck`` and ``gradgradcheck``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from typing import Any, Unpack

import torch
from torch.utils import _pytree as pytree

from gradcheck.checks.orders import with_faults
from gradcheck.errors import GradientError, InvalidArgument
from gradcheck.functions.options import CheckOptions, default_rtol
from gradcheck.reports.report import Report
from gradcheck.torch.arguments import of_function, points
from gradcheck.torch.judging import check
from gradcheck.torch.problem import TorchProblem
from gradcheck.torch.protocol import Asked, examine
from gradcheck.watching import tolerates, watched

__all__ = ["TorchGradientError", "gradcheck", "gradgradcheck"]

BATCHES = {"check_backward_ad": "check_batched_grad", "check_forward_ad": "check_batched_forward_grad"}
BATCHES_OF_SECOND = {"check_rev_over_rev": "check_batched_grad", "check_fwd_over_rev": ""}
"""Option that asks for a mode -> that which asks for several upstreams at once in it; reverse mode first, then forward."""


class TorchGradientError(GradientError, RuntimeError):
    """What `gradcheck` and `gradgradcheck` raise: PyTorch's own raise a `RuntimeError`."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    rtol: float | None = None,
    raise_exception: bool = True,
    masked: bool | None = None,
    **options: Any,
) -> bool:
    """Check the gradients of a function by the call of `torch.autograd.gradcheck`.

    Parameters
    ----------
    func, inputs, raise_exception
        As in `torch.autograd.gradcheck`.
    rtol : float, optional
        The relative error that matters, where it is more than the default of `CheckOptions`.
    masked : bool, optional
        Whether of a sparse input only the specified elements count. Otherwise it is checked also with all of them specified.
    **options
        What PyTorch's own takes. ``check_forward_ad``, ``check_backward_ad``: the modes that are compared with differences.
        ``nondet_tol``: by how much two backward passes of one graph may differ. ``check_undefined_grad``: whether an output
        without an upstream, or an input without a tangent, must do what zeros do. ``check_batched_grad``,
        ``check_batched_forward_grad``: whether several cotangents, or tangents, at once, by vmap, must give what they give one by
        one. The others are not used: steps and tolerances come from what is measured, and autograd itself gives every gradient the
        dtype of its input.

    Returns
    -------
    bool
        Whether the verdict is ``"pass"``.

    Raises
    ------
    TorchGradientError
        Unless it is, with ``raise_exception``.
    InvalidArgument
        When no input requires grad, or nothing is asked for.
    """
    __tracebackhide__ = True
    asked = _asked(torch.autograd.gradcheck, options, BATCHES)
    return _verdict(partial(_gradcheck, func), points(func, inputs, masked=masked), asked, rtol, raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    rtol: float | None = None,
    raise_exception: bool = True,
    masked: bool | None = None,
    **options: Any,
) -> bool:
    """Check the second derivatives of a function by the call of `torch.autograd.gradgradcheck`.

    The options mean what they mean in `gradcheck`, of the function that gives the gradients; its modes are
    ``check_rev_over_rev`` and ``check_fwd_over_rev``. ``gen_non_contig_grad_outputs`` is not used: other memory layouts are
    always tried. Of ``grad_outputs`` those are differentiated that require grad.
    """
    __tracebackhide__ = True
    asked = _asked(torch.autograd.gradgradcheck, options, BATCHES_OF_SECOND)
    seeds = None if grad_outputs is None else pytree.tree_leaves(grad_outputs)
    check_one = partial(_gradgradcheck, func, seeds=seeds)
    return _verdict(check_one, points(func, inputs, masked=masked), asked, rtol, raise_exception)


@watched
def _gradcheck(func: Callable[..., Any], inputs: Any, asked: Asked, **options: Unpack[CheckOptions]) -> Report:
    return _check(of_function(func, inputs), asked, options)


@watched
def _gradgradcheck(
    func: Callable[..., Any], inputs: Any, asked: Asked, seeds: Any, **options: Unpack[CheckOptions]
) -> Report:
    return _check(of_function(func, inputs).derivative(seeds), asked, options)


def _check(problem: TorchProblem, asked: Asked, options: CheckOptions) -> Report:
    return with_faults(check(problem, "float64", options, forward=asked.forward), examine(problem, asked))


def _verdict(
    check_one: Callable[..., Report],
    at: list[Any],
    asked: list[Asked],
    rtol: float | None,
    raise_exception: bool,  # noqa: FBT001
) -> bool:
    """Tell whether all checks pass; PyTorch's ``rtol`` counts where it is more than ours in float64."""
    __tracebackhide__ = True
    tolerance = {"rtol": rtol} if rtol is not None and rtol > default_rtol(0.0) else {}
    for point, one in product(at, asked):
        report = check_one(inputs=point, asked=one, **tolerance)
        if raise_exception and not (report.ok or tolerates(report)):
            raise TorchGradientError(report)
        if not report.ok:
            return False
    return True


def _asked(own: Callable[..., Any], options: Mapping[str, Any], batches: Mapping[str, str]) -> list[Asked]:
    """Return what is asked of the modes: reverse and forward, each an option with the one for several upstreams at once."""
    bound = inspect.signature(own).bind(None, None, **options)  # a TypeError for an unknown option
    bound.apply_defaults()
    given = bound.arguments
    asked = []
    for (mode, batch), forward in zip(batches.items(), (False, True), strict=True):
        if given.get(batch) and not given[mode]:
            raise InvalidArgument(f"{batch}=True needs {mode}=True.")
        if given[mode]:
            asked.append(Asked(forward, bool(given.get(batch)), given["check_undefined_grad"], given["nondet_tol"]))
    if not asked:
        raise InvalidArgument(f"{' and '.join(batches)} are False: nothing would be checked; one must be True.")
    return asked
