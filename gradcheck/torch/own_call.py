"""PyTorch's own call: ``gradcheck`` and ``gradgradcheck``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Unpack

from torch.utils import _pytree as pytree

from gradcheck.checks.orders import with_faults
from gradcheck.errors import GradientError
from gradcheck.functions.options import CheckOptions, require_callable
from gradcheck.reports.report import Report
from gradcheck.torch.arguments import of_function, points_of, tolerance
from gradcheck.torch.judging import check
from gradcheck.torch.problems import Problem
from gradcheck.torch.protocol import Asked, asked_of, examine
from gradcheck.watching import tolerates, watched

__all__ = ["TorchGradientError", "gradcheck", "gradgradcheck"]


class TorchGradientError(GradientError, RuntimeError):
    """What `gradcheck` and `gradgradcheck` raise: PyTorch's own raise a `RuntimeError`."""

    def __reduce__(self) -> tuple[type[TorchGradientError], tuple[Report]]:
        return TorchGradientError, (self.report,)


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool | None = None,
    masked: bool | None = None,
) -> bool:
    """Check the gradients of a function by the call of `torch.autograd.gradcheck`.

    Parameters
    ----------
    func, inputs, raise_exception, check_forward_ad, check_backward_ad
        As in `torch.autograd.gradcheck`.
    rtol : float, optional
        The relative error that matters, where it is more than the default of `CheckOptions`.
    nondet_tol : float
        By how much two backward passes of one graph may differ.
    check_undefined_grad : bool
        Whether an output without an upstream, or an input without a tangent, must do what zeros do.
    check_batched_grad, check_batched_forward_grad : bool
        Whether several cotangents, or tangents, at once, by vmap, must give what they give one by one.
    masked : bool, optional
        Whether of a sparse input only the specified elements count. Otherwise it is checked also with all of them specified.
    eps, atol, fast_mode, check_grad_dtypes
        Taken, and not used: steps and tolerances come from what is measured, and autograd itself gives every gradient the
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
    del eps, atol, fast_mode, check_grad_dtypes
    require_callable(func=func)
    modes = asked_of(
        Asked("check_backward_ad", check_backward_ad, False, check_batched_grad, check_undefined_grad, nondet_tol),
        Asked("check_forward_ad", check_forward_ad, True, check_batched_forward_grad, check_undefined_grad),
    )
    points = points_of(inputs, masked=masked)
    reports = (_gradcheck(func, point, one, **tolerance(rtol)) for point in points for one in modes)
    return _verdict(reports, raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool | None = None,
    masked: bool | None = None,
) -> bool:
    """Check the second derivatives of a function by the call of `torch.autograd.gradgradcheck`.

    The options mean what they mean in `gradcheck`, of the function that gives the gradients. ``gen_non_contig_grad_outputs`` is
    taken and not used: other memory layouts are always tried. Of ``grad_outputs`` those are differentiated that require grad.
    """
    __tracebackhide__ = True
    del eps, atol, fast_mode, check_grad_dtypes, gen_non_contig_grad_outputs
    require_callable(func=func)
    modes = asked_of(
        Asked("check_rev_over_rev", check_rev_over_rev, False, check_batched_grad, check_undefined_grad, nondet_tol),
        Asked("check_fwd_over_rev", check_fwd_over_rev, True, False, check_undefined_grad),
    )
    points = points_of(inputs, masked=masked)
    reports = (_gradgradcheck(func, point, grad_outputs, one, **tolerance(rtol)) for point in points for one in modes)
    return _verdict(reports, raise_exception)


@watched
def _gradcheck(func: Callable[..., Any], inputs: Any, asked: Asked, **options: Unpack[CheckOptions]) -> Report:
    return _check(of_function(func, inputs).tried(), asked, options)


@watched
def _gradgradcheck(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any, asked: Asked, **options: Unpack[CheckOptions]
) -> Report:
    seeds = None if grad_outputs is None else pytree.tree_leaves(grad_outputs)
    return _check(of_function(func, inputs).tried().derivative(seeds).tried(), asked, options)


def _check(problem: Problem, asked: Asked, options: CheckOptions) -> Report:
    report = check(problem, 1, "float64", options, forward=asked.forward)
    return with_faults(report, examine(problem, asked))


def _verdict(reports: Iterable[Report], raise_exception: bool) -> bool:  # noqa: FBT001 - torch's own name and meaning
    __tracebackhide__ = True
    for report in reports:
        if raise_exception and not (report.ok or tolerates(report)):
            raise TorchGradientError(report)
        if not report.ok:
            return False
    return True
