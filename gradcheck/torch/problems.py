"""What is checked: a function from named tensors to real ones, made of the user's function or module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd import forward_ad

from gradcheck.errors import InvalidArgument
from gradcheck.functions.formats import Format
from gradcheck.functions.probe import calling
from gradcheck.torch.tensors import Tensors, Watch, Widening, dense, like, real

__all__ = ["REMEDY", "Problem", "pulled"]

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
    remarks : tuple of str
        What a check of it cannot see.
    inside : Format, optional
        What it computes in on the way, where that is coarser than the leaves.
    indices : mapping
        Name -> array of whole numbers that it takes beside the inputs.
    """

    function: Callable[[Tensors, bool], Tensors]
    inputs: dict[str, Any]
    is_wide: bool
    name: str = "fn"
    needs_graph: bool = False
    left_out: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()
    inside: Format | None = None
    indices: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)

    def value(self, *leaves: Any, wide: bool = False) -> Tensors:
        """Return the values at a point."""
        with torch.set_grad_enabled(self.needs_graph):
            given = [leaf.detach().requires_grad_() if self.needs_graph else leaf.detach() for leaf in leaves]
            return [part.detach() for part in self.outputs(given, wide=wide)]

    def number(self, p: dict[str, Any], *, wide: bool = False) -> Any:
        """Return the value of a problem that has one number; of a stack of them where a leaf has one axis more."""
        axes = [0 if leaf.ndim > self.inputs[name].ndim else None for name, leaf in p.items()]

        def one(*leaves: Any) -> Any:
            return self.value(*leaves, wide=wide)[0].reshape(())

        if all(axis is None for axis in axes):
            return one(*p.values())
        return torch.func.vmap(one, in_dims=tuple(axes), randomness="same")(*(leaf.detach() for leaf in p.values()))

    def outputs(self, leaves: Tensors, *, wide: bool = False) -> Tensors:
        """Return the values with their graph, where the leaves have one."""
        with Widening() if wide and self.inside is not None else nullcontext():
            return [part for i, part in enumerate(self.function(leaves, wide)) if i not in self.left_out]

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
        outputs, inside = _watched(tried.function, self.inputs.values())
        tried = replace(tried, inside=inside)
        if not outputs:
            raise InvalidArgument(
                f"{self.name} returned no tensor of floating-point numbers; there is nothing to differentiate; return one."
            )
        cut = tuple(i for i, part in enumerate(outputs) if not part.requires_grad)
        if not cut or len(cut) == len(outputs):
            return tried
        said = f"outputs {', '.join(map(str, cut))} of the function do not require grad: nothing was asked about them"
        return replace(tried, left_out=cut, remarks=tuple(dict.fromkeys((*tried.remarks, said))))

    def graph(self, *leaves: Any) -> tuple[Tensors, Tensors]:
        """Return the values with their graph, and the leaves that it begins with; by default those of the point."""
        with torch.enable_grad():
            given = [leaf.detach().requires_grad_() for leaf in leaves or self.inputs.values()]
            return self.outputs(given), given

    def pull(self, dy: Sequence[Any], *leaves: Any) -> tuple[Any, ...]:
        """Return the products of cotangents with the Jacobian; zeros where nothing of the graph leads to a leaf."""
        values, given = self.graph(*leaves)
        return tuple(pulled(values, given, dy))

    def push(self, tangents: Sequence[Any], *leaves: Any) -> Tensors:
        """Return the products of the Jacobian with tangents, by forward mode; zeros where none arrives at an output.

        A leaf whose tangent is None gets none.
        """
        with torch.enable_grad(), forward_ad.dual_level():
            pairs = [(leaf.detach().requires_grad_(), move) for leaf, move in zip(leaves, tangents, strict=True)]
            given = [leaf if move is None else forward_ad.make_dual(leaf, move) for leaf, move in pairs]
            parts = [forward_ad.unpack_dual(part) for part in self.outputs(given)]
            return [torch.zeros_like(p.primal) if p.tangent is None else p.tangent.detach() for p in parts]

    def derivative(self, seeds: Tensors | None = None) -> Problem:
        """Return the function that pulls cotangents back, of the point and of those cotangents that require grad."""
        values = self.value(*self.inputs.values())
        if seeds is not None and len(seeds) != len(values):
            raise InvalidArgument(
                f"grad_outputs holds {len(seeds)} tensors; as many as there are differentiable outputs were required, {len(values)}."
            )
        if seeds is None:
            rng = np.random.default_rng(0)
            drawn = [torch.from_numpy(rng.uniform(0.5, 1.5, tuple(part.shape))) for part in values]
            seeds = [like(*pair).requires_grad_() for pair in zip(values, drawn, strict=True)]
        free = {i: real(seed.detach()) for i, seed in enumerate(seeds) if seed.requires_grad}
        held = [real(seed.detach()) for seed in seeds]
        count = len(self.inputs)

        def slope(leaves: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
            moved = dict(zip(free, leaves[count:], strict=True))
            with torch.enable_grad():
                given = [leaf if leaf.requires_grad else leaf.detach().requires_grad_() for leaf in leaves[:count]]
                dy = [moved.get(i, seed) for i, seed in enumerate(held)]
                return pulled(self.outputs(given, wide=wide), given, dy, create_graph=True)

        named = {f"grad_outputs[{i}]" if len(seeds) > 1 else "grad_outputs": seed for i, seed in free.items()}
        return Problem(slope, {**self.inputs, **named}, self.is_wide)


def pulled(values: Tensors, leaves: Tensors, dy: Sequence[Any], **options: Any) -> Tensors:
    """Return the products of cotangents with the Jacobian; zeros where nothing leads to a leaf."""
    pairs = [(value, seed) for value, seed in zip(values, dy, strict=True) if value.requires_grad]
    if not pairs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    outputs, seeds = zip(*pairs, strict=True)
    given = [seed.to(value.dtype) for value, seed in zip(outputs, seeds, strict=True)]
    found = torch.autograd.grad(outputs, leaves, given, allow_unused=True, **options)
    return [torch.zeros_like(leaf) if part is None else dense(part) for leaf, part in zip(leaves, found, strict=True)]


def _watched(function: Callable[[Tensors, bool], Tensors], inputs: Iterable[Any]) -> tuple[Tensors, Format | None]:
    """Return the outputs with their graph, and what is computed in inside where that is coarser, as under autocast."""
    leaves = [leaf.detach().requires_grad_() for leaf in inputs]
    with torch.enable_grad():
        try:
            with Watch() as watch:
                return function(leaves, False), watch.coarser_than(leaf.dtype for leaf in leaves)
        except Exception:  # noqa: BLE001 - what can be called, but not be watched
            return function(leaves, False), None
