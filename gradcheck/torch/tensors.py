"""Tensors of any dtype and layout as named leaves of real numbers, and back as the function or module gets them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck.errors import InvalidArgument
from gradcheck.functions.formats import Format
from gradcheck.torch.sparse import is_sparse, specified, with_values

__all__ = [
    "Tensors", "Watch", "Widening", "all_wide", "cast", "chosen", "fixed", "flatten", "is_float", "is_tensor", "like", "number", "outputs_of", "real", "rebuilt", "selected", "whole_numbers",
]  # fmt: skip

Tensors = list[Any]


def is_tensor(thing: Any) -> bool:
    """Tell whether something is a tensor."""
    return isinstance(thing, torch.Tensor)


def is_float(thing: Any) -> bool:
    """Tell whether something is a tensor of real or complex numbers."""
    return is_tensor(thing) and (thing.is_floating_point() or thing.is_complex())


class Watch(TorchDispatchMode):  # type: ignore[misc] # whether PyTorch is there or not, it is of any type
    """Sees in which dtypes the results of all operators are."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[Any] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        self.dtypes |= {part.dtype for part in pytree.tree_leaves(result) if is_float(part)}
        return result

    def coarser_than(self, known: Iterable[Any]) -> Format | None:
        """Return the coarsest format that was seen, if it is coarser than those and single precision."""
        dtype = max(self.dtypes, key=_eps, default=torch.float64)
        is_coarser = _eps(dtype) > max(map(_eps, [torch.float32, *known]))
        return Format(str(dtype).removeprefix("torch."), np.dtype(float), _eps(dtype)) if is_coarser else None


class Widening(TorchDispatchMode):  # type: ignore[misc] # as above
    """Gives in double precision whatever an operator is asked for in less: casts that a function makes by itself, and new tensors."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        dtype = (kwargs or {}).get("dtype")
        if dtype is not None and dtype.is_floating_point:
            kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **(kwargs or {}))


def _eps(dtype: Any) -> float:
    return float(torch.finfo(dtype).eps)


def dense(tensor: Any) -> Any:
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def real(tensor: Any) -> Any:
    """Return a tensor of real numbers: of a sparse one the specified values, of a complex one its parts along a last axis."""
    tensor = specified(tensor) if is_sparse(tensor) else tensor
    if tensor.is_complex():
        return torch.view_as_real(dense(tensor.detach()).resolve_conj())
    return tensor if isinstance(tensor, torch.nn.Parameter) else dense(tensor.detach())


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
    """Return a copy of what is held fixed: a function may write into it."""
    return cast(thing.detach().clone(), wide=wide) if is_tensor(thing) else copy.copy(thing)


def like(tensor: Any, numbers: Any) -> Any:
    """Return numbers in a tensor's dtype, on its device."""
    return numbers.to(dtype=tensor.dtype, device=tensor.device)


def outputs_of(output: Any) -> Tensors:
    """Return the floating-point tensors of an output, real ones; those in instances of dataclasses too."""
    parts = [dense(part) for part in _leaves(output) if is_float(part)]
    return [torch.view_as_real(part.resolve_conj()) if part.is_complex() else part for part in parts]


def _leaves(tree: Any) -> Tensors:
    """Return the leaves of a tree, and in place of an instance of a dataclass those of its fields."""
    found: Tensors = []
    for leaf in pytree.tree_leaves(tree):
        found += _leaves([getattr(leaf, field.name) for field in fields(leaf)]) if _is_record(leaf) else [leaf]
    return found


def _is_record(thing: Any) -> bool:
    return is_dataclass(thing) and not isinstance(thing, type)


def number(loss: Any) -> Any:
    """Return a loss that is a single number; refuse any other."""
    if not (is_tensor(loss) and loss.numel() == 1 and loss.is_floating_point()):
        given = f"a tensor of shape {tuple(loss.shape)}" if is_tensor(loss) else f"a {type(loss).__name__}"
        raise InvalidArgument(f"loss returned {given}; a tensor of a single floating-point number was required.")
    return loss


def all_wide(things: Iterable[Any]) -> bool:
    """Tell whether all numbers among some things are in double precision."""
    return all(part.dtype in {torch.float64, torch.complex128} for part in things if is_float(part))


def whole_numbers(named: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors of whole numbers among some things, as arrays: places in another, perhaps."""
    kinds = {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8}
    return {
        name: part.detach().cpu().numpy().astype(np.intp)
        for name, part in named.items()
        if is_tensor(part) and part.dtype in kinds and part.layout == torch.strided
    }


def flatten(named: dict[str, Any], depth: int = 0) -> tuple[dict[str, Any], Any]:
    """Take a tree apart; leaves are named by their paths, without the first ``depth`` steps."""
    paths, tree = pytree.tree_flatten_with_path(named)
    found: dict[str, Any] = {}
    for path, leaf in paths:
        plain = "".join(map(_step, path[depth:])).removeprefix(".")
        if _is_record(leaf) and any(is_tensor(part) and part.requires_grad for part in _leaves(leaf)):
            raise InvalidArgument(
                f"{plain} is an instance of {type(leaf).__name__}, in which tensors that require grad would not be seen; they are required in "
                "tuples, lists or dicts: hand over its tensors, and let the function make the object."
            )
        found[plain if plain not in found else pytree.keystr(path)] = leaf
    return found, tree


def _step(key: Any) -> str:
    """Return one step of a path, as people write it."""
    if isinstance(key, pytree.SequenceKey):
        return f"[{key.idx}]"
    name = getattr(key, "key", getattr(key, "name", key))
    return f".{name}" if isinstance(name, str) else f"[{name!r}]"


def chosen(leaves: Mapping[str, Any], *, any_requires_grad: bool) -> dict[str, Any]:
    """Return the tensors that are differentiated: those that require grad; all, where none is asked to."""
    floats = {name: leaf for name, leaf in leaves.items() if is_float(leaf)}
    return {name: leaf for name, leaf in floats.items() if leaf.requires_grad or not any_requires_grad}


def selected(free: dict[str, Any], wrt: str | Sequence[str]) -> dict[str, Any]:
    """Return those whose names were asked for, or fit a pattern."""
    if not isinstance(wrt, str | list | tuple):
        raise InvalidArgument(f"wrt={wrt!r} must be a name, a pattern such as 'head.*', or a list of them; '*' is all.")
    wanted = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for pattern in wanted:
        if not any(name == pattern or fnmatchcase(name, pattern) for name in free):
            names = ", ".join(free) or "none"
            raise InvalidArgument(
                f"wrt={pattern!r} fits no parameter or input that requires grad; there are: {names}; requires_grad_() makes "
                "one of an input."
            )
    return {
        name: leaf
        for name, leaf in free.items()
        if name in wanted or any(pattern not in free and fnmatchcase(name, pattern) for pattern in wanted)
    }
