"""Tensors of any dtype and layout as real numbers, and back as the function or module gets them."""

from __future__ import annotations

import copy
from typing import Any

import torch

from gradcheck.functions.trees import values_in
from gradcheck.torch.sparse import is_sparse, specified, with_values

__all__ = [
    "Tensors", "cast", "dense", "fixed", "is_float", "is_tensor", "like", "outputs_of", "real", "rebuilt",
]  # fmt: skip

Tensors = list[Any]


def is_tensor(thing: Any) -> bool:
    """Tell whether something is a tensor."""
    return isinstance(thing, torch.Tensor)


def is_float(thing: Any) -> bool:
    """Tell whether something is a tensor of real or complex numbers."""
    return is_tensor(thing) and (thing.is_floating_point() or thing.is_complex())


def dense(tensor: Any) -> Any:
    """Return a tensor with all its elements in memory."""
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def real(tensor: Any) -> Any:
    """Return a tensor of real numbers, a copy: of a sparse one the specified values, of a complex one its parts along a last axis."""
    if isinstance(tensor, torch.nn.Parameter) and not tensor.is_complex():
        return copy.deepcopy(tensor)
    tensor = dense(specified(tensor) if is_sparse(tensor) else tensor.detach()).clone()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def rebuilt(original: Any, leaf: Any) -> Any:
    """Return a leaf as the original was: complex or sparse, in its layout where that is a parameter's, with its hooks."""
    tensor = torch.view_as_complex(leaf.contiguous()) if original.is_complex() else leaf
    if is_sparse(original):
        return with_values(original, tensor)
    if isinstance(original, torch.nn.Parameter) and not original.is_contiguous() and 0 not in original.stride():
        empty = torch.empty_strided(original.shape, original.stride(), dtype=tensor.dtype, device=tensor.device)
        tensor = empty.copy_(tensor)
    if tensor.requires_grad:
        for hook in (original._backward_hooks or {}).values():  # noqa: SLF001 - there is no other way to see them
            tensor.register_hook(hook)
    return tensor


def cast(thing: Any, *, wide: bool) -> Any:
    """Return a tensor of numbers in double precision, where that is asked for; anything else as it is."""
    if not (wide and is_float(thing)):
        return thing
    return thing.to(torch.complex128 if thing.is_complex() else torch.float64)


def fixed(thing: Any, *, wide: bool) -> Any:
    """Return a copy of what is held fixed, into which a function may write; parameters, which are large, as they are."""
    if not is_tensor(thing):
        return copy.copy(thing)
    return cast(thing.detach() if isinstance(thing, torch.nn.Parameter) else thing.detach().clone(), wide=wide)


def like(tensor: Any, numbers: Any) -> Any:
    """Return numbers in a tensor's dtype, on its device."""
    return torch.as_tensor(numbers).to(dtype=tensor.dtype, device=tensor.device)


def outputs_of(output: Any) -> Tensors:
    """Return the floating-point tensors of an output, real ones."""
    parts = [dense(part) for part in values_in(output) if is_float(part)]
    return [torch.view_as_real(part.resolve_conj()) if part.is_complex() else part for part in parts]
