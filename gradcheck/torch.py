"""Gradients of PyTorch functions and modules, in the dtype and on the device that they have.

Differences are taken of the same function in float64, so that a float32 gradient is judged at float32's accuracy. Nothing of
a module's is changed: its parameters are replaced for a call, its buffers by copies, and random numbers are the same in
every call.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Unpack

import numpy as np

from gradcheck.checks.check import Check, Claimant, Reference
from gradcheck.checks.claimants import VjpClaimant, input_names
from gradcheck.checks.orders import both_orders
from gradcheck.checks.run import MOST_EXHAUSTIVE, run
from gradcheck.checks.scalar import ScalarClaimant
from gradcheck.errors import GradientError, InvalidArgument, MissingDependency
from gradcheck.functions.options import CheckOptions, read_options, require_callable
from gradcheck.functions.points import point_of
from gradcheck.reports.report import Report
from gradcheck.watching import tolerates, watched

try:
    import torch
    from torch.utils import _pytree as pytree
except ImportError as error:  # pragma: no cover - needs an environment without it
    raise MissingDependency("gradcheck.torch needs torch, which is not installed: pip install torch") from error

__all__ = [
    "TorchGradientError", "assert_function", "assert_module", "check_function", "check_module", "gradcheck", "gradgradcheck",
]  # fmt: skip

Tensors = list[Any]

FEWEST_VECTORIZED = 200
"""Elements from which on one call for many displaced copies is worth the attempt."""


@watched
def check_function(
    fn: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    reference: str | None = "float64",
    **options: Unpack[CheckOptions],
) -> Report:
    """Check autograd through a function: an `autograd.Function`'s ``apply``, a custom operator, anything made of tensors.

    Parameters
    ----------
    fn : callable
        ``fn(*inputs) ->`` a tensor or any tree of tensors.
    *inputs : tensors, trees of tensors, or anything else
        The point. Those are differentiated that require grad; where none does, all floating-point and complex ones.
    order : {1, 2}
        With 2, double backward is checked too; its parameters are named ``x (order 2)``.
    reference : "float64" or None
        Take differences of the function on doubles, or always of the function as it is.
    **options
        See `CheckOptions`. ``vectorized`` is chosen where it is not given: by `torch.func.vmap`, where that gives the same.

    Returns
    -------
    Report
        Parameters are named after the signature of ``fn``; complex ones have a last axis of real and imaginary part.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong gradient does not raise.

    Notes
    -----
    Costs as `check_gradient` where the value is a single number, and as `check_vjp` else. Every call starts with the same
    random numbers.

    Examples
    --------
    >>> import torch
    >>> check_function(torch.nn.functional.softplus, torch.linspace(-2, 2, 5)).verdict
    'pass'
    """
    require_callable(fn=fn)
    _require(order=order, reference=reference)
    if isinstance(fn, torch.nn.Module):
        return check_module(fn, *inputs, reference=reference, **options)
    return _check(_of_function(fn, inputs), order, reference, options)


@watched
def check_module(
    module: torch.nn.Module,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    loss: Callable[[Any], Any] | None = None,
    wrt: str | Sequence[str] = "*",
    reference: str | None = "float64",
    **options: Unpack[CheckOptions],
) -> Report:
    """Check the gradients of a module's parameters, and of the inputs that require grad.

    Parameters
    ----------
    module : torch.nn.Module
        In the mode, with the buffers and the hooks that it has; all of it is as before afterwards.
    *inputs, kwargs
        What it is called with.
    loss : callable, optional
        ``loss(output) ->`` a single number. Default: random cotangents of all floating-point outputs.
    wrt : str or sequence of str
        Names or patterns of what is checked, ``"head.*"`` for example; the rest is held fixed.
    reference : "float64" or None
        Take differences of the module on doubles, or always of the module as it is.
    **options
        See `CheckOptions`, and `check_function` for ``vectorized``.

    Returns
    -------
    Report
        Parameters are named as in ``named_parameters()``, inputs as in the signature of ``forward``.

    Raises
    ------
    InvalidArgument
        When the arguments cannot describe a check. A wrong gradient does not raise.

    Notes
    -----
    Costs as `check_gradient` or `check_vjp`: more than 10,000 elements are judged together, in 50 to 150 evaluations.

    Examples
    --------
    >>> import torch
    >>> check_module(torch.nn.Linear(4, 3), torch.randn(5, 4)).verdict
    'pass'
    """
    if not isinstance(module, torch.nn.Module):
        raise InvalidArgument(
            f"module is a {type(module).__name__}; a torch.nn.Module was required: use check_function."
        )
    _require(reference=reference)
    with _kept(module):
        return _check(_of_module(module, inputs, dict(kwargs or {}), loss, wrt), 1, reference, options)


def assert_function(*args: Any, **kwargs: Any) -> Report:
    """Do as `check_function`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_function(*args, **kwargs)
    report.assert_ok()
    return report


def assert_module(*args: Any, **kwargs: Any) -> Report:
    """Do as `check_module`, and raise `GradientError` unless the verdict is ``"pass"``; returns the report."""
    __tracebackhide__ = True
    report = check_module(*args, **kwargs)
    report.assert_ok()
    return report


# ---- torch's own call ------------------------------------------------------------------------------------------------


class TorchGradientError(GradientError, RuntimeError):
    """What `gradcheck` and `gradgradcheck` raise: PyTorch's own raise a `RuntimeError`."""

    def __reduce__(self) -> tuple[type[TorchGradientError], tuple[Report]]:
        return TorchGradientError, (self.report,)


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    fast_mode: bool | None = None,
    **ignored: Any,
) -> bool:
    """Check the gradients of a function by the call of `torch.autograd.gradcheck`.

    Parameters
    ----------
    func, inputs, rtol, raise_exception
        As in `torch.autograd.gradcheck`; ``rtol`` is the relative error that matters.
    eps, atol, fast_mode, **ignored
        Taken, and not used: steps and tolerances come from what is measured.

    Returns
    -------
    bool
        Whether the verdict is ``"pass"``.

    Raises
    ------
    TorchGradientError
        Unless it is, with ``raise_exception``.
    InvalidArgument
        When no input requires grad.
    """
    __tracebackhide__ = True
    del eps, atol, fast_mode, ignored
    options = CheckOptions() if rtol is None else CheckOptions(rtol=rtol)
    return _verdict(_gradcheck(func, inputs, **options), raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    fast_mode: bool | None = None,
    **ignored: Any,
) -> bool:
    """Check the second derivatives of a function by the call of `torch.autograd.gradgradcheck`; see `gradcheck`."""
    __tracebackhide__ = True
    del eps, atol, fast_mode, ignored
    options = CheckOptions() if rtol is None else CheckOptions(rtol=rtol)
    return _verdict(_gradgradcheck(func, inputs, grad_outputs, **options), raise_exception)


@watched
def _gradcheck(func: Callable[..., Any], inputs: Any, **options: Unpack[CheckOptions]) -> Report:
    return _check(_of_function(func, _as_torch_takes_them(inputs)), 1, "float64", options)


@watched
def _gradgradcheck(func: Callable[..., Any], inputs: Any, grad_outputs: Any, **options: Unpack[CheckOptions]) -> Report:
    seeds = None if grad_outputs is None else pytree.tree_leaves(grad_outputs)
    return _check(_of_function(func, _as_torch_takes_them(inputs)).derivative(seeds), 1, "float64", options)


def _as_torch_takes_them(inputs: Any) -> tuple[Any, ...]:
    given = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    if not any(_is_tensor(part) and part.requires_grad for part in pytree.tree_leaves(given)):
        raise InvalidArgument("no input requires grad; at least one must: torch.randn(..., requires_grad=True).")
    return given


def _verdict(report: Report, raise_exception: bool) -> bool:  # noqa: FBT001 - torch's own name and meaning
    __tracebackhide__ = True
    if raise_exception and not (report.ok or tolerates(report)):
        raise TorchGradientError(report)
    return report.ok


# ---- what is checked -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Problem:
    """A function from named tensors to a list of real tensors.

    Attributes
    ----------
    function : callable
        ``function(leaves, wide) -> list of tensors``; ``wide`` is whether what it holds fixed is widened too.
    inputs : dict
        Name -> real tensor, of what is differentiated.
    is_wide : bool
        Whether all of it is in double precision as given.
    needs_graph : bool
        Whether the function differentiates something itself.
    left_out : tuple of int
        Outputs that autograd has no gradient of, where it has of others.
    """

    function: Callable[[Tensors, bool], Tensors]
    inputs: dict[str, Any]
    is_wide: bool
    needs_graph: bool = False
    left_out: tuple[int, ...] = ()

    def value(self, *leaves: Any, wide: bool = False) -> Tensors:
        """Return the values at a point."""
        with torch.set_grad_enabled(self.needs_graph):
            given = [leaf.detach().requires_grad_() if self.needs_graph else leaf.detach() for leaf in leaves]
            return [part.detach() for part in self._kept(self.function(given, wide))]

    def _kept(self, outputs: Tensors) -> Tensors:
        return [part for i, part in enumerate(outputs) if i not in self.left_out]

    def tried(self) -> _Problem:
        """Return the same, as a call of the function shows it to be.

        With a graph in every call where the function differentiates something itself, and without outputs that do not
        require grad: an operator may give what its backward needs, and has no gradient of that.
        """
        try:
            self.value(*self.inputs.values())
            tried = self
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            tried = replace(self, needs_graph=True)
        with torch.enable_grad():
            outputs = self.function([leaf.detach().requires_grad_() for leaf in self.inputs.values()], False)
        if not any(part.numel() for part in outputs):
            raise InvalidArgument("the function returned no floating-point number; there is nothing to differentiate.")
        cut = tuple(i for i, part in enumerate(outputs) if not part.requires_grad)
        return replace(tried, left_out=cut if len(cut) < len(outputs) else ())

    def pull(self, dy: Sequence[Any], *leaves: Any) -> tuple[Any, ...]:
        """Return the products of cotangents with the Jacobian; zeros where nothing of the graph leads to a leaf."""
        with torch.enable_grad():
            given = [leaf.detach().requires_grad_() for leaf in leaves]
            return tuple(_pulled(self._kept(self.function(given, False)), given, dy))

    def derivative(self, seeds: Tensors | None = None) -> _Problem:
        """Return the function that pulls cotangents back, of the point and of the cotangents."""
        values = self.value(*self.inputs.values())
        if seeds is None:
            rng = np.random.default_rng(0)
            seeds = [_like(part, torch.from_numpy(rng.uniform(0.5, 1.5, tuple(part.shape)))) for part in values]
        seeds = [torch.view_as_real(seed.detach()) if seed.is_complex() else seed.detach() for seed in seeds]
        count = len(self.inputs)

        def slope(leaves: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
            with torch.enable_grad():
                given = [leaf if leaf.requires_grad else leaf.detach().requires_grad_() for leaf in leaves[:count]]
                return _pulled(self._kept(self.function(given, wide)), given, leaves[count:], create_graph=True)

        named = {f"grad_outputs[{i}]" if len(seeds) > 1 else "grad_outputs": seed for i, seed in enumerate(seeds)}
        return _Problem(slope, {**self.inputs, **named}, self.is_wide)


def _pulled(values: Tensors, leaves: Tensors, dy: Sequence[Any], *, create_graph: bool = False) -> Tensors:
    pairs = [(value, seed) for value, seed in zip(values, dy, strict=True) if value.requires_grad]
    if not pairs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    outputs, seeds = zip(*pairs, strict=True)
    given = [seed.to(value.dtype) for value, seed in zip(outputs, seeds, strict=True)]
    found = torch.autograd.grad(outputs, leaves, given, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(leaf) if part is None else _dense(part) for leaf, part in zip(leaves, found, strict=True)]


def _of_function(fn: Callable[..., Any], inputs: tuple[Any, ...]) -> _Problem:
    """Take the inputs of a function apart."""
    named = dict(zip(input_names(fn, len(inputs)), inputs, strict=True))
    leaves, tree = _flatten(named)
    free = _chosen(leaves, any_requires_grad=any(_is_tensor(leaf) and leaf.requires_grad for leaf in leaves.values()))
    random = _Random([leaf for leaf in leaves.values() if _is_tensor(leaf)])

    def function(given: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
        moved = dict(zip(free, given, strict=True))
        parts = [
            _rebuilt(leaf, moved[name]) if name in moved else _fixed(leaf, wide=wide) for name, leaf in leaves.items()
        ]
        with random.same():
            return _outputs(fn(*pytree.tree_unflatten(parts, tree).values()))

    return _Problem(function, {name: _real(leaf) for name, leaf in free.items()}, _all_wide(leaves.values()))


def _of_module(
    module: torch.nn.Module,
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
    loss: Callable[[Any], Any] | None,
    wrt: str | Sequence[str],
) -> _Problem:
    """Take a module and its inputs apart."""
    names = input_names(module.forward, len(inputs))
    leaves, tree = _flatten({"args": dict(zip(names, inputs, strict=True)), "kwargs": kwargs}, depth=1)
    parameters = dict(module.named_parameters())
    buffers = dict(module.named_buffers())
    taken = {name if name not in parameters else f"input {name}": leaf for name, leaf in leaves.items()}
    free = {name: leaf for name, leaf in parameters.items() if leaf.requires_grad} | _chosen(
        taken, any_requires_grad=True
    )
    free = _selected(free, wrt)
    random = _Random([*parameters.values(), *(leaf for leaf in leaves.values() if _is_tensor(leaf))])
    frozen = {name: leaf for name, leaf in parameters.items() if name not in free}

    def function(given: Tensors, wide: bool) -> Tensors:  # noqa: FBT001 - one of two forms of every problem
        moved = {name: _rebuilt(free[name], leaf) for name, leaf in zip(free, given, strict=True)}
        own = {name: _cast(leaf.detach(), wide=wide) for name, leaf in frozen.items()}
        own |= {name: _fixed(leaf, wide=wide) for name, leaf in buffers.items()}
        own |= {name: moved[name] for name in parameters if name in moved}
        parts = [moved[name] if name in moved else _fixed(leaf, wide=wide) for name, leaf in taken.items()]
        call = pytree.tree_unflatten(parts, tree)
        with random.same():
            output = torch.func.functional_call(module, own, tuple(call["args"].values()), call["kwargs"])
            return _outputs(output if loss is None else _number(loss(output)))

    everything = [*parameters.values(), *buffers.values(), *leaves.values()]
    return _Problem(function, {name: _real(leaf) for name, leaf in free.items()}, _all_wide(everything))


def _check(problem: _Problem, order: int, reference: str | None, options: CheckOptions) -> Report:
    """Compare what autograd gives with differences."""
    problem = problem.tried()
    values = problem.value(*problem.inputs.values())
    is_scalar = len(values) == 1 and values[0].numel() == 1
    is_better = reference is not None and not problem.is_wide
    if is_scalar and "vectorized" not in options and _is_vectorizable(problem, wide=is_better):
        options = {**options, "vectorized": True}
    settings = read_options(options, vectorizable=is_scalar, directional=True)
    claimant: Claimant = VjpClaimant(problem.value, problem.pull, problem.inputs)
    better: Callable[..., Any] = partial(problem.value, wide=True)
    if is_scalar:
        one = [torch.ones_like(values[0])]
        claimant = ScalarClaimant(
            _scalar(problem, wide=False),
            lambda p: dict(zip(p, problem.pull(one, *p.values()), strict=True)),
            problem.inputs,
        )
        better = _scalar(problem, wide=True)
    point = point_of(problem.inputs, "inputs")
    report = run(Check(settings, point, claimant, Reference(better, is_optional=True) if is_better else None))
    if problem.left_out:
        outputs = ", ".join(map(str, problem.left_out))
        message = f"outputs {outputs} of the function do not require grad: nothing was asked about them"
        report = replace(report, blind_spots=(*report.blind_spots, message))
    return report if order == 1 else both_orders(report, _check(problem.derivative(), 1, reference, options))


def _scalar(problem: _Problem, *, wide: bool) -> Callable[[dict[str, Any]], Any]:
    """Return the value of a problem that has one number; of a stack of them where a leaf has one axis more."""
    axes = [leaf.ndim for leaf in problem.inputs.values()]

    def one(*leaves: Any) -> Any:
        return problem.value(*leaves, wide=wide)[0].reshape(())

    def value(p: dict[str, Any]) -> Any:
        stacked = [0 if leaf.ndim > ndim else None for leaf, ndim in zip(p.values(), axes, strict=True)]
        if all(axis is None for axis in stacked):
            return one(*p.values())
        return torch.func.vmap(one, in_dims=tuple(stacked), randomness="same")(*(leaf.detach() for leaf in p.values()))

    return value


def _is_vectorizable(problem: _Problem, *, wide: bool) -> bool:
    """Tell whether many elements are to be looked at one by one, and `torch.func.vmap` gives what single calls give."""
    if not FEWEST_VECTORIZED <= sum(leaf.numel() for leaf in problem.inputs.values()) <= MOST_EXHAUSTIVE:
        return False
    value = _scalar(problem, wide=wide)
    start = {name: _cast(leaf.detach(), wide=wide) for name, leaf in problem.inputs.items()}
    try:
        for name, leaf in start.items():
            both = torch.stack([leaf, leaf * 0.99])
            alone = [value({**start, name: part}) for part in both]
            if not torch.allclose(value({**start, name: both}), torch.stack(alone), rtol=1e-9, atol=0.0):
                return False
    except (RuntimeError, NotImplementedError, ValueError, TypeError):  # what vmap cannot do
        return False
    return True


# ---- tensors ---------------------------------------------------------------------------------------------------------


def _is_tensor(thing: Any) -> bool:
    return isinstance(thing, torch.Tensor)


def _is_float(thing: Any) -> bool:
    return _is_tensor(thing) and (thing.is_floating_point() or thing.is_complex())


def _dense(tensor: Any) -> Any:
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def _real(tensor: Any) -> Any:
    """Return a tensor of real numbers; a complex one has its parts along a last axis."""
    if tensor.is_complex():
        return torch.view_as_real(_dense(tensor.detach()).resolve_conj())
    return tensor if isinstance(tensor, torch.nn.Parameter) else _dense(tensor.detach())


def _rebuilt(original: Any, leaf: Any) -> Any:
    """Return a leaf as the original was: complex, in its memory layout where that is a parameter's, with its hooks."""
    tensor = torch.view_as_complex(leaf.contiguous()) if original.is_complex() else leaf
    if isinstance(original, torch.nn.Parameter) and not original.is_contiguous() and 0 not in original.stride():
        empty = torch.empty_strided(original.shape, original.stride(), dtype=tensor.dtype, device=tensor.device)
        tensor = empty.copy_(tensor)
    if tensor.requires_grad:
        for hook in (original._backward_hooks or {}).values():  # noqa: SLF001 - there is no other way to see them
            tensor.register_hook(hook)
    return tensor


def _cast(thing: Any, *, wide: bool) -> Any:
    if not (wide and _is_float(thing)):
        return thing
    return thing.to(torch.complex128 if thing.is_complex() else torch.float64)


def _fixed(thing: Any, *, wide: bool) -> Any:
    """Return a copy of what is held fixed: a function may write into it."""
    return _cast(thing.detach().clone(), wide=wide) if _is_tensor(thing) else copy.copy(thing)


def _like(tensor: Any, numbers: Any) -> Any:
    return numbers.to(dtype=tensor.dtype, device=tensor.device)


def _outputs(output: Any) -> Tensors:
    """Return the floating-point tensors of an output, real ones."""
    parts = [_dense(part) for part in pytree.tree_leaves(output) if _is_float(part)]
    return [torch.view_as_real(part.resolve_conj()) if part.is_complex() else part for part in parts]


def _number(loss: Any) -> Any:
    if not (_is_tensor(loss) and loss.numel() == 1 and loss.is_floating_point()):
        given = f"a tensor of shape {tuple(loss.shape)}" if _is_tensor(loss) else f"a {type(loss).__name__}"
        raise InvalidArgument(f"loss returned {given}; a tensor of a single floating-point number was required.")
    return loss


def _all_wide(things: Iterable[Any]) -> bool:
    return all(part.dtype in {torch.float64, torch.complex128} for part in things if _is_float(part))


def _flatten(named: dict[str, Any], depth: int = 0) -> tuple[dict[str, Any], Any]:
    """Take a tree apart; leaves are named by their paths, without the first ``depth`` steps."""
    paths, tree = pytree.tree_flatten_with_path(named)
    found: dict[str, Any] = {}
    for path, leaf in paths:
        plain = "".join(map(_step, path[depth:])).removeprefix(".")
        found[plain if plain not in found else pytree.keystr(path)] = leaf
    return found, tree


def _step(key: Any) -> str:
    """Return one step of a path, as people write it."""
    if isinstance(key, pytree.SequenceKey):
        return f"[{key.idx}]"
    name = getattr(key, "key", getattr(key, "name", key))
    return f".{name}" if isinstance(name, str) else f"[{name!r}]"


def _chosen(leaves: Mapping[str, Any], *, any_requires_grad: bool) -> dict[str, Any]:
    """Return the tensors that are differentiated: those that require grad; all, where none is asked to."""
    floats = {name: leaf for name, leaf in leaves.items() if _is_float(leaf)}
    return {name: leaf for name, leaf in floats.items() if leaf.requires_grad or not any_requires_grad}


def _selected(free: dict[str, Any], wrt: str | Sequence[str]) -> dict[str, Any]:
    """Return those whose names were asked for, or fit a pattern."""
    wanted = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for pattern in wanted:
        if not any(name == pattern or fnmatchcase(name, pattern) for name in free):
            names = ", ".join(free) or "none"
            raise InvalidArgument(f"wrt={pattern!r} fits no parameter or input that requires grad; there are: {names}.")
    return {
        name: leaf
        for name, leaf in free.items()
        if name in wanted or any(pattern not in free and fnmatchcase(name, pattern) for pattern in wanted)
    }


# ---- what stays as it is ---------------------------------------------------------------------------------------------


class _Random:
    """The state of the generators of the devices that tensors are on: every call starts with it."""

    def __init__(self, tensors: Iterable[Any]) -> None:
        self.devices = sorted({leaf.device.index or 0 for leaf in tensors if leaf.device.type == "cuda"})
        self.states = self._now()

    def _now(self) -> Tensors:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self.devices)]

    def _set(self, states: Tensors) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self.devices, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)

    @contextmanager
    def same(self) -> Iterator[None]:
        """Run a block with the same random numbers as ever, and give back the state that was found."""
        before = self._now()
        self._set(self.states)
        try:
            yield
        finally:
            self._set(before)


@contextmanager
def _kept(module: torch.nn.Module) -> Iterator[None]:
    """Give back to every submodule the attributes that it had, and to lists, dicts and sets among them what they held."""
    before = [(part, dict(vars(part))) for part in module.modules()]
    held = [
        (thing, copy.copy(thing)) for _, kept in before for thing in kept.values() if type(thing) in (list, dict, set)
    ]
    try:
        yield
    finally:
        for part, kept in before:
            vars(part).clear()
            vars(part).update(kept)
        for thing, was in held:
            thing.clear()
            thing.extend(was) if isinstance(thing, list) else thing.update(was)


def _require(*, reference: str | None, order: int = 1) -> None:
    if order not in {1, 2}:
        raise InvalidArgument(f"order={order!r} must be 1 or 2.")
    if reference not in {"float64", None}:
        raise InvalidArgument(f"reference={reference!r} must be 'float64' or None.")
