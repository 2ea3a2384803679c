"""What is checked: a function from named tensors to real ones, and what autograd gives of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.autograd import forward_ad

from gradcheck.checks.autodiff import Problem, require_values, upstreams
from gradcheck.errors import InvalidArgument
from gradcheck.functions.probe import calling
from gradcheck.torch.precision import Widening, seen_inside
from gradcheck.torch.remedies import REMEDY, explaining
from gradcheck.torch.tensors import Tensors, dense, like, real

__all__ = ["TorchProblem", "pulled"]


@dataclass(frozen=True)
class TorchProblem(Problem):
    """A function of tensors; ``needs_graph`` is whether it differentiates something itself."""

    needs_graph: bool = False

    def value(self, *leaves: Any, wide: bool = False) -> Tensors:
        """Return the values at a point."""
        with torch.set_grad_enabled(self.needs_graph):
            return [part.detach() for part in self.outputs(self._begun(leaves), wide=wide)]

    def _begun(self, leaves: Sequence[Any]) -> Tensors:
        given = [leaf.detach() for leaf in leaves]
        return [leaf.requires_grad_() for leaf in given] if self.needs_graph else given  # vmap allows no such call

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
            return self.function(leaves, wide)

    def tried(self) -> TorchProblem:
        """Return the same, as a call of the function shows it to be.

        With a graph in every call where the function differentiates something itself, and without outputs that do not
        require grad: an operator may give what its backward needs, and has no gradient of that.
        """
        if torch.is_inference_mode_enabled():
            raise InvalidArgument(
                "torch.inference_mode() is on, in which autograd records nothing; make the check outside of it."
            )
        tried = self
        try:
            with calling(self.name, "at the given point", REMEDY):
                self.value(*self.inputs.values())
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            tried = replace(self, needs_graph=True)
        with calling(self.name, "at the given point"), explaining(self.name):
            outputs, inside = seen_inside(self.function, self.inputs.values())
        require_values(self, outputs)
        kept = [i for i, part in enumerate(outputs) if part.requires_grad]
        if len(kept) in (0, len(outputs)):
            return replace(tried, inside=inside)
        cut = ", ".join(str(i) for i in range(len(outputs)) if i not in kept)
        said = f"outputs {cut} of the function do not require grad: nothing was asked about them"

        def function(leaves: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
            parts = self.function(leaves, wide)
            return [parts[i] for i in kept]

        return replace(tried, function=function, inside=inside, remarks=(*self.remarks, said))

    def graph(self, *leaves: Any) -> tuple[Tensors, Tensors]:
        """Return the values with their graph, and the leaves that it begins with; by default those of the point."""
        with torch.enable_grad():
            given = [leaf.detach().requires_grad_() for leaf in leaves or self.inputs.values()]
            return self.outputs(given, wide=self.is_wider(given)), given

    def pull(self, dy: Sequence[Any], *leaves: Any) -> Tensors:
        """Return the products of cotangents with the Jacobian; zeros where nothing of the graph leads to a leaf."""
        with explaining(self.name):
            return pulled(*self.graph(*leaves), dy)

    def push(self, tangents: Sequence[Any], *leaves: Any) -> Tensors:
        """Return the products of the Jacobian with tangents, by forward mode; zeros where none arrives at an output.

        A leaf whose tangent is None gets none.
        """
        with torch.set_grad_enabled(self.needs_graph), forward_ad.dual_level():
            pairs = zip(self._begun(leaves), tangents, strict=True)
            given = [leaf if move is None else forward_ad.make_dual(leaf, move) for leaf, move in pairs]
            parts = [forward_ad.unpack_dual(part) for part in self.outputs(given)]
            return [torch.zeros_like(p.primal) if p.tangent is None else p.tangent.detach() for p in parts]

    def derivative(self, seeds: Tensors | None = None) -> TorchProblem:
        """Return the function that pulls cotangents back, of the point and of those cotangents that require grad."""
        values = self.value(*self.inputs.values())
        if seeds is None:
            seeds = [like(*pair).requires_grad_() for pair in zip(values, upstreams(values), strict=True)]
        if len(seeds) != len(values):
            raise InvalidArgument(
                f"grad_outputs holds {len(seeds)} tensors; as many as there are differentiable outputs were required, {len(values)}."
            )
        held = [real(seed.detach()) for seed in seeds]
        free = {i: held[i] for i, seed in enumerate(seeds) if seed.requires_grad}
        count = len(self.inputs)

        def slope(leaves: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
            moved = dict(zip(free, leaves[count:], strict=True))
            with torch.enable_grad():
                dy = [moved.get(i, seed) for i, seed in enumerate(held)]
                return pulled(self.outputs(leaves[:count], wide=wide), leaves[:count], dy, create_graph=True)

        named = {f"grad_outputs[{i}]" if len(seeds) > 1 else "grad_outputs": seed for i, seed in free.items()}
        return TorchProblem(slope, {**self.inputs, **named}, self.name, needs_graph=True).tried()


def pulled(values: Tensors, leaves: Tensors, dy: Sequence[Any], **options: Any) -> Tensors:
    """Return the products of cotangents with the Jacobian; zeros where nothing leads to a leaf."""
    pairs = [(value, seed) for value, seed in zip(values, dy, strict=True) if value.requires_grad]
    if not pairs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    outputs, seeds = zip(*pairs, strict=True)
    given = [seed.to(value.dtype) for value, seed in zip(outputs, seeds, strict=True)]
    found = torch.autograd.grad(outputs, leaves, given, allow_unused=True, **options)
    return [torch.zeros_like(leaf) if part is None else dense(part) for leaf, part in zip(leaves, found, strict=True)]
