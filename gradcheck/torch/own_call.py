"""PyTorch's own call: ``gradcheck`` and ``gradgradcheck``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import torch
from torch.utils import _pytree as pytree

from gradcheck.errors import GradientError, InvalidArgument
from gradcheck.functions.options import CheckOptions
from gradcheck.reports.report import Report
from gradcheck.torch.judging import check
from gradcheck.torch.problems import of_function
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
    **ignored: Any,
) -> bool:
    """Check the gradients of a function by the call of `torch.autograd.gradcheck`.

    Parameters
    ----------
    func, inputs, rtol, raise_exception
        As in `torch.autograd.gradcheck`; ``rtol`` is the relative error that matters.
    eps, atol, fast_mode, **ignored
        Taken, and not used: steps and tolerances come from what is measured.

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
    return _verdict(_gradcheck(func, inputs, **options), raise_exception)


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
    **ignored: Any,
) -> bool:
    """Check the second derivatives of a function by the call of `torch.autograd.gradgradcheck`; see `gradcheck`."""
    __tracebackhide__ = True
    del eps, atol, fast_mode, ignored
    options = CheckOptions() if rtol is None else CheckOptions(rtol=rtol)
    return _verdict(_gradgradcheck(func, inputs, grad_outputs, **options), raise_exception)


@watched
def _gradcheck(func: Callable[..., Any], inputs: Any, **options: Unpack[CheckOptions]) -> Report:
    return check(of_function(func, _as_torch_takes_them(inputs)), 1, "float64", options)


@watched
def _gradgradcheck(func: Callable[..., Any], inputs: Any, grad_outputs: Any, **options: Unpack[CheckOptions]) -> Report:
    seeds = None if grad_outputs is None else pytree.tree_leaves(grad_outputs)
    return check(of_function(func, _as_torch_takes_them(inputs)).derivative(seeds), 1, "float64", options)


def _as_torch_takes_them(inputs: Any) -> tuple[Any, ...]:
    given = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    if not any(is_tensor(part) and part.requires_grad for part in pytree.tree_leaves(given)):
        raise InvalidArgument("no input requires grad; at least one must: torch.randn(..., requires_grad=True).")
    return given


def _verdict(report: Report, raise_exception: bool) -> bool:  # noqa: FBT001 - torch's own name and meaning
    __tracebackhide__ = True
    if raise_exception and not (report.ok or tolerates(report)):
        raise TorchGradientError(report)
    return report.ok
