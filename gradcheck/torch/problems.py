"""What is checked: a function from named tensors to real ones, made of the user's function or module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from gradcheck.errors import InvalidArgument
from gradcheck.functions.probe import calling
from gradcheck.torch.tensors import Tensors, dense, like

__all__ = ["REMEDY", "Problem"]

REMEDY = (
    "inputs follow the function or module one by one; targets belong to the loss: "
    "loss=lambda output: criterion(output, targets)"
)
"""What to do where the arguments of a call do not fit."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A function from named tensors to a list of real tensors.

    Attributes
    ----------
    function : callable
        ``function(leaves, wide) -> list of tensors``; ``wide`` is whether what it holds fixed is widened too.
    inputs : dict
        Name -> real tensor, of what is differentiated.
    is_wide : bool
        Whether all of it is in double precision as given.
    name : str
        What the user calls the function.
    needs_graph : bool
        Whether the function differentiates something itself.
    left_out : tuple of int
        Outputs that autograd has no gradient of, where it has of others.
    """

    function: Callable[[Tensors, bool], Tensors]
    inputs: dict[str, Any]
    is_wide: bool
    name: str = "fn"
    needs_graph: bool = False
    left_out: tuple[int, ...] = ()

    def value(self, *leaves: Any, wide: bool = False) -> Tensors:
        """Return the values at a point."""
        with torch.set_grad_enabled(self.needs_graph):
            given = [leaf.detach().requires_grad_() if self.needs_graph else leaf.detach() for leaf in leaves]
            return [part.detach() for part in self._kept(self.function(given, wide))]

    def _kept(self, outputs: Tensors) -> Tensors:
        return [part for i, part in enumerate(outputs) if i not in self.left_out]

    def tried(self) -> Problem:
        """Return the same, as a call of the function shows it to be.

        With a graph in every call where the function differentiates something itself, and without outputs that do not
        require grad: an operator may give what its backward needs, and has no gradient of that.
        """
        try:
            with calling(self.name, "at the given point", REMEDY):
                self.value(*self.inputs.values())
            tried = self
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            tried = replace(self, needs_graph=True)
        with torch.enable_grad():
            outputs = self.function([leaf.detach().requires_grad_() for leaf in self.inputs.values()], False)
        if not any(part.numel() for part in outputs):
            raise InvalidArgument(
                f"{self.name} returned no tensor of floating-point numbers; there is nothing to differentiate; return one."
            )
        cut = tuple(i for i, part in enumerate(outputs) if not part.requires_grad)
        return replace(tried, left_out=cut if len(cut) < len(outputs) else ())

    def pull(self, dy: Sequence[Any], *leaves: Any) -> tuple[Any, ...]:
        """Return the products of cotangents with the Jacobian; zeros where nothing of the graph leads to a leaf."""
        with torch.enable_grad():
            given = [leaf.detach().requires_grad_() for leaf in leaves]
            return tuple(_pulled(self._kept(self.function(given, False)), given, dy))

    def push(self, tangents: Sequence[Any], *leaves: Any) -> Tensors:
        """Return the products of the Jacobian with tangents, by forward mode; zeros where none arrives at an output."""
        with torch.enable_grad(), forward_ad.dual_level():
            pairs = zip(leaves, tangents, strict=True)
            given = [forward_ad.make_dual(leaf.detach().requires_grad_(), tangent) for leaf, tangent in pairs]
            parts = [forward_ad.unpack_dual(part) for part in self._kept(self.function(given, False))]
            return [torch.zeros_like(p.primal) if p.tangent is None else p.tangent.detach() for p in parts]

    def derivative(self, seeds: Tensors | None = None) -> Problem:
        """Return the function that pulls cotangents back, of the point and of the cotangents."""
        values = self.value(*self.inputs.values())
        if seeds is None:
            rng = np.random.default_rng(0)
            seeds = [like(part, torch.from_numpy(rng.uniform(0.5, 1.5, tuple(part.shape)))) for part in values]
        seeds = [torch.view_as_real(seed.detach()) if seed.is_complex() else seed.detach() for seed in seeds]
        count = len(self.inputs)

        def slope(leaves: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
            with torch.enable_grad():
                given = [leaf if leaf.requires_grad else leaf.detach().requires_grad_() for leaf in leaves[:count]]
                return _pulled(self._kept(self.function(given, wide)), given, leaves[count:], create_graph=True)

        named = {f"grad_outputs[{i}]" if len(seeds) > 1 else "grad_outputs": seed for i, seed in enumerate(seeds)}
        return Problem(slope, {**self.inputs, **named}, self.is_wide)


def _pulled(values: Tensors, leaves: Tensors, dy: Sequence[Any], *, create_graph: bool = False) -> Tensors:
    pairs = [(value, seed) for value, seed in zip(values, dy, strict=True) if value.requires_grad]
    if not pairs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    outputs, seeds = zip(*pairs, strict=True)
    given = [seed.to(value.dtype) for value, seed in zip(outputs, seeds, strict=True)]
    found = torch.autograd.grad(outputs, leaves, given, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(leaf) if part is None else dense(part) for leaf, part in zip(leaves, found, strict=True)]
