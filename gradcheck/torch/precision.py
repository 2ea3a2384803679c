"""The precision that a function computes in on the way, as under autocast, and the same function in double precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck.checks.autodiff import coarsest_inside
from gradcheck.functions.formats import Format
from gradcheck.functions.trees import values_in
from gradcheck.torch.tensors import Tensors, is_float

__all__ = ["Widening", "seen_inside"]


class _Watch(TorchDispatchMode):  # type: ignore[misc] # whether PyTorch is there or not, it is of any type
    """Sees in which dtypes the results of all operators are."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[Any] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        self.dtypes |= {part.dtype for part in values_in(result) if is_float(part)}
        return result


class Widening(TorchDispatchMode):  # type: ignore[misc] # as above
    """Gives in double precision whatever an operator is asked for in less: casts that a function makes by itself, and new tensors."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        dtype = (kwargs or {}).get("dtype")
        if dtype is not None and dtype.is_floating_point:
            kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **(kwargs or {}))


def seen_inside(function: Callable[[Tensors, bool], Tensors], inputs: Iterable[Any]) -> tuple[Tensors, Format | None]:
    """Return the outputs of a function with their graph, and the coarsest format inside, where it is coarser than the inputs."""
    leaves = [leaf.detach().requires_grad_() for leaf in inputs]
    watch = _Watch()
    with torch.enable_grad():
        try:
            with watch:
                outputs = function(leaves, False)
        except Exception:  # noqa: BLE001 - what can be called, but not be watched
            return function(leaves, False), None
    seen = {str(dtype).removeprefix("torch."): _eps(dtype) for dtype in watch.dtypes}
    return outputs, coarsest_inside(seen, [_eps(leaf.dtype) for leaf in leaves])


def _eps(dtype: Any) -> float:
    return float(torch.finfo(dtype).eps)
