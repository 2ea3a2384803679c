"""What is checked, made of the user's function or module and its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from gradcheck.checks.claimants import input_names
from gradcheck.errors import InvalidArgument
from gradcheck.functions.probe import calling
from gradcheck.torch.problems import REMEDY, Problem
from gradcheck.torch.sparse import is_sparse, specified
from gradcheck.torch.state import Random
from gradcheck.torch.tensors import (
    Tensors,
    all_wide,
    cast,
    chosen,
    fixed,
    flatten,
    is_tensor,
    number,
    outputs_of,
    real,
    rebuilt,
    selected,
    whole_numbers,
)

__all__ = ["of_function", "of_module"]


def of_function(fn: Callable[..., Any], inputs: tuple[Any, ...]) -> Problem:
    """Take the inputs of a function apart.

    Raises
    ------
    InvalidArgument
        Without any, and for the class of an `autograd.Function`.
    """
    if isinstance(fn, type) and issubclass(fn, torch.autograd.Function):
        raise InvalidArgument(f"fn is the class {fn.__name__}; a function was required: {fn.__name__}.apply.")
    if not inputs:
        raise InvalidArgument("inputs: at least one is needed; pass them after the function.")
    named = dict(zip(input_names(fn, len(inputs)), inputs, strict=True))
    leaves, tree = flatten(named)
    free = chosen(leaves, any_requires_grad=any(is_tensor(leaf) and leaf.requires_grad for leaf in leaves.values()))
    if not free:
        given = ", ".join(
            f"{name} is a {leaf.dtype} tensor" if is_tensor(leaf) else f"{name} is a {type(leaf).__name__}"
            for name, leaf in leaves.items()
        )
        raise InvalidArgument(
            f"inputs hold no floating-point tensor ({given}): there is nothing to differentiate; give tensors of floats, or of "
            "other arrays use gradcheck.check_vjp."
        )
    random = Random([leaf for leaf in leaves.values() if is_tensor(leaf)])

    def function(given: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
        moved = dict(zip(free, given, strict=True))
        parts = [
            rebuilt(leaf, moved[name]) if name in moved else fixed(leaf, wide=wide) for name, leaf in leaves.items()
        ]
        with random.same():
            return outputs_of(fn(*pytree.tree_unflatten(parts, tree).values()))

    remarks = tuple(
        f"{name}: of this sparse tensor the {len(specified(leaf)):,} specified elements were checked, the others held fixed"
        for name, leaf in free.items()
        if is_sparse(leaf)
    )
    inputs_ = {name: real(leaf) for name, leaf in free.items()}
    return Problem(function, inputs_, all_wide(leaves.values()), remarks=remarks, indices=whole_numbers(leaves))


def of_module(
    module: torch.nn.Module,
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
    loss: Callable[[Any], Any] | None,
    wrt: str | Sequence[str],
) -> Problem:
    """Take a module and its inputs apart.

    Raises
    ------
    InvalidArgument
        Where nothing fits ``wrt``, and for a scripted module.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise InvalidArgument(
            "module is a ScriptModule, whose parameters cannot be replaced for a call; give the module it was made of."
        )
    if isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        raise InvalidArgument(
            f"module is a {type(module).__name__}, which calls copies of another one; give that: module.module."
        )
    everything = dict(module.named_parameters()) | dict(module.named_buffers())
    lazy = next((name for name, leaf in everything.items() if torch.nn.parameter.is_lazy(leaf)), None)
    if lazy is not None:
        raise InvalidArgument(
            f"module: {lazy} has no shape until the module is first called; call module(*inputs) once."
        )
    names = input_names(module.forward, len(inputs))
    leaves, tree = flatten({"args": dict(zip(names, inputs, strict=True)), "kwargs": kwargs}, depth=1)
    parameters = dict(module.named_parameters())
    buffers = dict(module.named_buffers())
    taken = {name if name not in parameters else f"input {name}": leaf for name, leaf in leaves.items()}
    free = {name: leaf for name, leaf in parameters.items() if leaf.requires_grad} | chosen(
        taken, any_requires_grad=True
    )
    free = selected(free, wrt)
    random = Random([*parameters.values(), *(leaf for leaf in leaves.values() if is_tensor(leaf))])
    frozen = {name: leaf for name, leaf in parameters.items() if name not in free}

    def function(given: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
        moved = {name: rebuilt(free[name], leaf) for name, leaf in zip(free, given, strict=True)}
        own = {name: cast(leaf.detach(), wide=wide) for name, leaf in frozen.items()}
        own |= {name: fixed(leaf, wide=wide) for name, leaf in buffers.items()}
        own |= {name: moved[name] for name in parameters if name in moved}
        parts = [moved[name] if name in moved else fixed(leaf, wide=wide) for name, leaf in taken.items()]
        call = pytree.tree_unflatten(parts, tree)
        with random.same():
            output = torch.func.functional_call(module, own, tuple(call["args"].values()), call["kwargs"])
            if loss is None:
                return outputs_of(output)
            with calling("loss", "with the output alone", REMEDY):
                return outputs_of(number(loss(output)))

    is_wide = all_wide([*everything.values(), *leaves.values()])
    inputs_ = {name: real(leaf) for name, leaf in free.items()}
    return Problem(function, inputs_, is_wide, name="module", indices=whole_numbers(taken))
