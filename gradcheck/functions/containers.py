"""Containers: their parts under names, and how one of the same kind is built from new parts.

Dicts, lists, tuples and NamedTuples, dataclasses, attrs classes, and what is registered with JAX or PyTorch, where they are loaded.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, MappingView
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Key", "assembler_of", "is_mapping", "is_number_list", "parts_of", "twins_of"]

Assembler = Callable[[list[Any]], Any]


class Key(NamedTuple):
    """One step into a container: how it reads in a path, and how where that would be ambiguous."""

    plain: str
    exact: str


def parts_of(node: Any) -> dict[Key, Any] | None:
    """Return the parts of a container under their keys, or None for a leaf; None itself is an empty container."""
    if node is None:
        return {}
    if isinstance(node, np.ndarray | np.generic | float | int | str) or is_number_list(node):
        return None
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return {_attribute(field): part for field, part in zip(node._fields, node, strict=True)}
    if isinstance(node, list | tuple):
        return {_place(i): part for i, part in enumerate(node)}
    registered = None if type(node) is dict else _registered_parts(node)
    if registered is not None:
        return registered[0]
    if is_mapping(node):
        return {_item(key): part for key, part in node.items()}
    fields = _fields(node)
    return None if fields is None else {_attribute(name): getattr(node, name) for name in fields}


def twins_of(node: Any, twin: Any) -> dict[Key, Any] | None:
    """Return the parts of another container under the keys of this one, where places or names are what they share.

    A NamedTuple and a plain tuple or list of as many parts are laid side by side; a dict and a class by names. None where they are
    of different sorts.
    """
    is_named = hasattr(node, "_fields"), hasattr(twin, "_fields")
    if isinstance(node, list | tuple) and isinstance(twin, list | tuple) and not all(is_named):
        keys = list(parts_of(node) or {})
        if not any(is_named):
            keys = [_place(i) for i in range(len(twin))]
        if len(keys) == len(twin):
            return dict(zip(keys, twin, strict=True))
    twins = parts_of(twin)
    if not twins or is_mapping(node) == is_mapping(twin):
        return twins
    names = {key.plain: key for key in parts_of(node) or {} if key.plain.startswith(".")}
    is_named_alike = all(key.plain in names for key in twins)
    return {names[key.plain]: part for key, part in twins.items()} if is_named_alike else None


def assembler_of(node: Any) -> Assembler:
    """Return what builds a container like this one from new parts. It pickles where the container's class does."""
    if node is None:
        return _nothing
    if isinstance(node, tuple):
        return getattr(type(node), "_make", tuple)
    if isinstance(node, list):
        return list if type(node) is list else partial(_refilled_list, node)
    registered = None if type(node) is dict else _registered_parts(node)
    if registered is not None:
        return registered[1]
    if is_mapping(node):
        like = _refilled_mapping(node, [None] * len(node)) if isinstance(node, dict) else dict.fromkeys(node)
        return partial(_refilled_mapping, like)
    return partial(_rebuilt, node)


def is_mapping(node: Any) -> bool:
    """Tell whether the parts of a container have keys of their own, in no order."""
    return isinstance(node, Mapping)


def is_number_list(node: Any) -> bool:
    """Tell whether this is a list of plain numbers, one of them a float at least: the same point as a 1-D array."""
    return type(node) is list and set(map(type, node)) in ({float}, {float, int})


@lru_cache(maxsize=1024)
def _attribute(name: str) -> Key:
    return Key(f".{name}", f".{name}")


def _place(i: Any) -> Key:
    return Key(f"[{i}]", f"[{i}]")


def _item(key: Any) -> Key:
    """Name an entry of a mapping."""
    return _entry(key) if type(key) is str else _exactly(key)


def _exactly(key: Any) -> Key:
    """Do it; line breaks and the like are written as escapes, since names stand in lines of a report."""
    said = repr(key) if repr(key).isprintable() else repr(key).encode("unicode_escape").decode()
    return Key(f".{key}" if isinstance(key, str) and key.isprintable() else f"[{said}]", f"[{said}]")


_entry = lru_cache(maxsize=1024)(_exactly)
"""For text alone: of other keys some are equal that read otherwise, such as 1 and True."""


def _nothing(parts: list[Any]) -> None:
    del parts


def _refilled_list(node: Any, parts: list[Any]) -> Any:
    twin = copy.copy(node)
    twin[:] = parts
    return twin


def _refilled_mapping(node: Any, parts: list[Any]) -> Any:
    pairs = dict(zip(node, parts, strict=True))
    if type(node) is dict:
        return pairs
    twin = copy.copy(node)  # keeps what a subclass adds, such as a default factory
    twin.update(pairs)
    return twin


# ---- classes --------------------------------------------------------------------------------------------------------


def _fields(node: Any) -> dict[str, str] | None:
    """Return the fields that the class of a dataclass or attrs class is called with: name -> name of the argument.

    What is not an argument is computed from those that are, and is computed again.
    """
    if isinstance(node, type):
        return None
    if dataclasses.is_dataclass(node):
        return {field.name: field.name for field in dataclasses.fields(node) if field.init}
    attributes = getattr(type(node), "__attrs_attrs__", None)
    if attributes is None:
        return None
    return {attribute.name: attribute.alias or attribute.name for attribute in attributes if attribute.init}


def _rebuilt(node: Any, parts: list[Any]) -> Any:
    names = _fields(node) or {}
    arguments = dict(zip(names.values(), parts, strict=True))
    return dataclasses.replace(node, **arguments) if hasattr(node, "__dataclass_fields__") else type(node)(**arguments)


def _registered_parts(node: Any) -> tuple[dict[Key, Any], Assembler] | None:
    """Return the parts of what is registered with JAX or PyTorch, and what builds one from others; None for anything else."""
    if isinstance(node, Iterator | MappingView):  # JAX warns of these, and will refuse them
        return None
    jax, torch = getattr(sys.modules.get("jax"), "tree_util", None), sys.modules.get("torch.utils._pytree")

    def is_part(part: Any) -> bool:
        return part is not node

    if jax is not None:
        pairs, structure = jax.tree_flatten_with_path(node, is_leaf=is_part)
        if len(pairs) != 1 or pairs[0][0]:
            return {_joined(path): part for path, part in pairs}, partial(_unflattened, structure)
    known = torch.SUPPORTED_NODES.get(type(node)) if torch is not None else None
    if torch is None or known is None:
        return None
    parts, structure = torch.tree_flatten(node, is_leaf=is_part)
    steps = [(i,) for i in range(len(parts))]
    if known.flatten_with_keys_fn is not None:
        steps = [path for path, _ in torch.tree_flatten_with_path(node, is_leaf=is_part)[0]]
    return dict(zip(map(_joined, steps), parts, strict=True)), partial(torch.tree_unflatten, treespec=structure)


def _joined(path: tuple[Any, ...]) -> Key:
    """Return the steps of a path of JAX's or PyTorch's as one: attributes, entries and places."""
    keys = [
        _attribute(entry.name)
        if hasattr(entry, "name")
        else _place(entry.idx)
        if hasattr(entry, "idx")
        else _item(getattr(entry, "key", entry))
        for entry in path
    ]
    return Key("".join(key.plain for key in keys), "".join(key.exact for key in keys))


def _unflattened(structure: Any, parts: list[Any]) -> Any:
    return structure.unflatten(parts)
