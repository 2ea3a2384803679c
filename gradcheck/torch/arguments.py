"""What is checked, made of the user's function or module and its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from gradcheck.checks.arguments import arguments_of, require_some, whole_numbers
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.options import require_callable
from gradcheck.functions.probe import calling
from gradcheck.functions.selection import fitting
from gradcheck.torch.problem import TorchProblem
from gradcheck.torch.remedies import REMEDY
from gradcheck.torch.sparse import filled, is_sparse, specified
from gradcheck.torch.state import repeating
from gradcheck.torch.tensors import Tensors, fixed, is_float, is_tensor, outputs_of, real, rebuilt

__all__ = ["of_function", "of_module", "points"]

Parts = dict[str, Any]


def of_function(
    fn: Callable[..., Any], inputs: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> TorchProblem:
    """Take the inputs of a function apart.

    Raises
    ------
    InvalidArgument
        Where nothing of them can be differentiated, and for the class of an `autograd.Function`.
    """
    owner = fn if isinstance(fn, type) else type(fn)
    if issubclass(owner, torch.autograd.Function):
        raise InvalidArgument(f"fn is the class {owner.__name__}; a function was required: {owner.__name__}.apply.")
    given, spread = arguments_of(fn, inputs, kwargs)
    leaves = {name: leaf for part in given for name, leaf in part.items()}
    floats = {name: leaf for name, leaf in leaves.items() if is_float(leaf)}
    free = {name: leaf for name, leaf in floats.items() if leaf.requires_grad} or floats
    require_some(free, leaves, "tensor")

    def call(parts: Parts) -> Tensors:
        args, keywords = spread(parts)
        return outputs_of(fn(*args, **keywords))

    return _problem("fn", leaves, free, call)


def of_module(
    module: torch.nn.Module,
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    loss: Callable[[Any], Any] | None,
    wrt: Any,
) -> TorchProblem:
    """Take a module and its inputs apart.

    Raises
    ------
    InvalidArgument
        Where nothing fits ``wrt``, and for a module that cannot be called with other parameters.
    """
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    _require_callable(module, own)
    given, spread = arguments_of(module.forward, inputs, kwargs, taken=own)
    leaves = own | {name: leaf for part in given for name, leaf in part.items()}
    free = {name: leaf for name, leaf in leaves.items() if is_float(leaf) and leaf.requires_grad}
    remedy = "of parameters and inputs those that require grad are checked; requires_grad_() makes one of another"
    chosen = fitting(list(free), wrt, remedy)

    def call(parts: Parts) -> Tensors:
        args, keywords = spread(parts)
        state = {name: parts[name] for name in own}
        output = torch.func.functional_call(module, state, tuple(args), keywords)
        if loss is None:
            return outputs_of(output)
        with calling("loss", "with the output alone", REMEDY):
            return outputs_of(_number(loss(output)))

    return _problem("module", leaves, {name: leaf for name, leaf in free.items() if name in chosen}, call)


def points(func: Any, inputs: Any, *, masked: bool | None) -> list[tuple[Any, ...]]:
    """Return the inputs of PyTorch's own call as a tuple, and, unless only specified elements count, with those of sparse ones filled.

    Raises
    ------
    InvalidArgument
        When they are not tensors, or none requires grad.
    """
    require_callable(func=func)
    if not isinstance(inputs, torch.Tensor | list | tuple):
        raise InvalidArgument(f"inputs is {described(inputs)}; a tensor or a tuple of them was required.")
    given = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    if not any(is_tensor(part) and part.requires_grad for part in pytree.tree_leaves(given)):
        raise InvalidArgument("no input requires grad; at least one must: torch.randn(..., requires_grad=True).")
    if masked or not any(is_sparse(part) and part.requires_grad for part in given):
        return [given]
    return [given, tuple(filled(part) if is_sparse(part) and part.requires_grad else part for part in given)]


def _problem(name: str, leaves: Parts, free: Parts, call: Callable[[Parts], Tensors]) -> TorchProblem:
    """Return what gives the outputs at other values of some of the leaves, with the same random numbers each time."""
    same = repeating(filter(is_tensor, leaves.values()))

    def function(given: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
        moved = {name: rebuilt(free[name], leaf) for name, leaf in zip(free, given, strict=True)}
        with same():
            return call(
                {name: moved[name] if name in moved else fixed(leaf, wide=wide) for name, leaf in leaves.items()}
            )

    remarks = tuple(
        f"{name}: of this sparse tensor the {len(specified(leaf)):,} specified elements were checked, the others held fixed"
        for name, leaf in free.items()
        if is_sparse(leaf)
    )
    inputs = {name: real(leaf) for name, leaf in free.items()}
    return TorchProblem(function, inputs, name, indices=whole_numbers(leaves), remarks=remarks).tried()


def _require_callable(module: torch.nn.Module, own: Parts) -> None:
    """Refuse a module that cannot be called with other parameters in place of its own."""
    if isinstance(module, torch.jit.ScriptModule):
        raise InvalidArgument(
            "module is a ScriptModule, whose parameters cannot be replaced for a call; give the module it was made of."
        )
    if isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        raise InvalidArgument(
            f"module is {described(module)}, which calls copies of another one; give that: module.module."
        )
    lazy = next((name for name, leaf in own.items() if torch.nn.parameter.is_lazy(leaf)), None)
    if lazy is not None:
        raise InvalidArgument(
            f"module: {lazy} has no shape until the module is first called; call module(*inputs) once."
        )


def _number(loss: Any) -> Any:
    """Return a loss that is a single number; refuse any other."""
    if not (is_tensor(loss) and loss.numel() == 1 and loss.is_floating_point()):
        given = f"a tensor of shape {tuple(loss.shape)}" if is_tensor(loss) else described(loss)
        raise InvalidArgument(f"loss returned {given}; a tensor of a single floating-point number was required.")
    return loss
