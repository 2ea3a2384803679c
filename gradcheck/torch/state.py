"""What stays as it is: the random numbers of every call, and all that a module holds."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch

__all__ = ["kept", "repeating"]

CONTAINERS = (list, dict, set, OrderedDict)
"""Attributes of a module that are given back with what they held: hooks are in an OrderedDict."""


def repeating(tensors: Iterable[Any]) -> Callable[[], AbstractContextManager[None]]:
    """Return a context manager in which the random numbers are those that would be drawn now, on the devices that tensors are on."""
    devices = sorted({leaf.device.index or 0 for leaf in tensors if leaf.device.type == "cuda"})
    states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]

    @contextmanager
    def same() -> Iterator[None]:
        with torch.random.fork_rng(devices):  # gives back the state that it found
            torch.set_rng_state(states[0])
            for device, state in zip(devices, states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield

    return same


@contextmanager
def kept(module: torch.nn.Module) -> Iterator[None]:
    """Give back to every submodule the attributes that it had, and to containers among them what they held, hooks too.

    Meanwhile what stands for padding is a constant: PyTorch gives it no gradient, so that it stays as it is.
    """
    before = [(part, dict(vars(part))) for part in module.modules()]
    held = [(thing, copy.copy(thing)) for _, kept in before for thing in kept.values() if type(thing) in CONTAINERS]
    for part, _ in before:
        if isinstance(part, torch.nn.Embedding) and part.padding_idx is not None:
            row = part.weight.detach()[part.padding_idx].clone()
            part.register_forward_hook(partial(_with_padding, row), prepend=True)  # it goes as the attributes come back
    try:
        yield
    finally:
        for part, kept in before:
            vars(part).clear()
            vars(part).update(kept)
        for thing, was in held:
            thing.clear()
            thing.extend(was) if isinstance(thing, list) else thing.update(was)


def _with_padding(row: Any, part: Any, given: tuple[Any, ...], output: Any) -> Any:
    return torch.where((given[0] == part.padding_idx)[..., None], row.to(output.dtype), output)
