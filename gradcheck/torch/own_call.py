"""PyTorch's own call: ``gradcheck`` and ``gradgradcheck``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Unpack

import torch
from torch.utils import _pytree as pytree

from gradcheck.errors import GradientError, InvalidArgument
from gradcheck.functions.options import CheckOptions
from gradcheck.reports.report import Report
from gradcheck.torch.arguments import of_function
from gradcheck.torch.judging import check
from gradcheck.torch.tensors import is_tensor
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
    fast_mode: bool | None = None,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    **ignored: Any,
) -> bool:
    """Check the gradients of a function by the call of `torch.autograd.gradcheck`.

    Parameters
    ----------
    func, inputs, rtol, raise_exception, check_forward_ad, check_backward_ad
        As in `torch.autograd.gradcheck`; ``rtol`` is the relative error that matters.
    eps, atol, fast_mode, **ignored
        Taken, and not used: steps and tolerances come from what is measured. Nothing is asked of batched derivatives.

    Returns
    -------
    bool
        Whether the verdict is ``"pass"``.

    Raises
    ------
    TorchGradientError
        Unless it is, with ``raise_exception``.
    InvalidArgument
        When no input requires grad.
    """
    __tracebackhide__ = True
    del eps, atol, fast_mode, ignored
    options = CheckOptions() if rtol is None else CheckOptions(rtol=rtol)
    modes = [mode for mode, is_asked in ((False, check_backward_ad), (True, check_forward_ad)) if is_asked]
    return _verdict((_gradcheck(func, inputs, forward=forward, **options) for forward in modes), raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    fast_mode: bool | None = None,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    **ignored: Any,
) -> bool:
    """Check the second derivatives of a function by the call of `torch.autograd.gradgradcheck`; see `gradcheck`."""
    __tracebackhide__ = True
    del eps, atol, fast_mode, ignored
    options = CheckOptions() if rtol is None else CheckOptions(rtol=rtol)
    modes = [mode for mode, is_asked in ((False, check_rev_over_rev), (True, check_fwd_over_rev)) if is_asked]
    reports = (_gradgradcheck(func, inputs, grad_outputs, forward=forward, **options) for forward in modes)
    return _verdict(reports, raise_exception)


@watched
def _gradcheck(func: Callable[..., Any], inputs: Any, *, forward: bool, **options: Unpack[CheckOptions]) -> Report:
    return check(of_function(func, _as_torch_takes_them(inputs)), 1, "float64", options, forward=forward)


@watched
def _gradgradcheck(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any, *, forward: bool, **options: Unpack[CheckOptions]
) -> Report:
    seeds = None if grad_outputs is None else pytree.tree_leaves(grad_outputs)
    problem = of_function(func, _as_torch_takes_them(inputs)).derivative(seeds)
    return check(problem, 1, "float64", options, forward=forward)


def _as_torch_takes_them(inputs: Any) -> tuple[Any, ...]:
    given = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    if not any(is_tensor(part) and part.requires_grad for part in pytree.tree_leaves(given)):
        raise InvalidArgument("no input requires grad; at least one must: torch.randn(..., requires_grad=True).")
    return given


def _verdict(reports: Iterable[Report], raise_exception: bool) -> bool:  # noqa: FBT001 - torch's own name and meaning
    __tracebackhide__ = True
    for report in reports:
        if raise_exception and not (report.ok or tolerates(report)):
            raise TorchGradientError(report)
        if not report.ok:
            return False
    return True
