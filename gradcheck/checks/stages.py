"""A network as stages, and one pass through all of them in sequence, as its user would make it.

The pass gives each stage the value and the upstream that really occur, what it returns there, and who writes into
memory that belongs to another stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.aliases import Floats
from gradcheck.checks.subjects import by_name, input_names
from gradcheck.errors import InvalidArgument, described
from gradcheck.functions.arrays import as_numpy, is_still
from gradcheck.functions.options import require_callable
from gradcheck.functions.points import Output, Point, inputs_of
from gradcheck.functions.probe import Budget, calling
from gradcheck.functions.trees import arrays_in, flatten, holds_settings
from gradcheck.reports.claims import Reading, read_gradient

__all__ = ["Passage", "Stage", "pass_through", "read_stages"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a chain: a layer with its parameters."""

    name: str
    forward: Callable[..., Any]
    backward: Callable[[Any, Any], Any]
    params: tuple[Any, ...]

    @property
    def pair(self) -> tuple[str, str]:
        """What messages call forward and backward."""
        return f"{self.name}'s forward", f"{self.name}'s backward"

    def inputs(self, x: Any) -> dict[str, Any]:
        """Name input and parameters as in the signature of forward, the input x."""
        first, *names = input_names(self.forward, 1 + len(self.params))
        return dict(zip([first if "x" in names else "x", *names], (x, *self.params), strict=True))

    def run(self, inputs: dict[str, Any], where: str) -> tuple[Any, Any]:
        """Call forward."""
        with calling(self.pair[0], where):
            value = self.forward(*inputs.values())
        if not (isinstance(value, tuple) and len(value) == 2):
            given = f"a tuple of {len(value)}" if isinstance(value, tuple) else described(value)
            raise InvalidArgument(f"{self.pair[0]} must return (y, cache), but it returned {given}; return both.")
        return value

    def pull(self, dy: Any, cache: Any, inputs: dict[str, Any], where: str) -> Any:
        """Call backward, and lay what it returns beside the names of the inputs."""
        with calling(self.pair[1], where):
            given = self.backward(dy, cache)
        settings = [name for name, value in inputs.items() if holds_settings(value)]
        return by_name(given, inputs, self.pair[1], settings)


def read_stages(stages: Any) -> list[Stage]:
    """Read what the user gave as stages.

    Raises
    ------
    InvalidArgument
        Naming the stage, what was given and what is required.
    """
    if not isinstance(stages, Iterable) or isinstance(stages, str | bytes | dict):
        raise InvalidArgument(
            f"stages is {described(stages)}; a list of tuples (name, forward, backward, params) was required: the order is "
            "check_chain(stages, x)."
        )
    read = [_read_stage(position, given) for position, given in enumerate(stages)]
    if not read:
        raise InvalidArgument("stages is empty; at least one (name, forward, backward, params) was required.")
    names = [stage.name for stage in read]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidArgument(f"stages: {names.count(twice)} are called {twice!r}; give each a name of its own.")
    return read


def _read_stage(position: int, given: Any) -> Stage:
    what = f"stages[{position}]"
    if not isinstance(given, tuple | list) or len(given) != 4:
        size = f" of {len(given)}" if isinstance(given, tuple | list) else ""
        raise InvalidArgument(
            f"{what} is {described(given)}{size}; a tuple of 4, (name, forward, backward, params), was required; "
            "a stage without parameters has params=(), and the order is check_chain(stages, x)."
        )
    name, forward, backward, params = given
    if not (isinstance(name, str) and len(name.splitlines()) == 1):
        raise InvalidArgument(f"{what}: name={name!r} must be a string of one line that is not empty.")
    require_callable(**{f"{what} ({name}): forward": forward, f"{what} ({name}): backward": backward})
    if not isinstance(params, tuple | list):
        raise InvalidArgument(
            f"{what} ({name}): params is {described(params)}; a tuple was required, since forward(x, *params) is "
            "called; write (w,) for one parameter and () for none."
        )
    return Stage(str(name), forward, backward, tuple(params))


@dataclass(slots=True)
class Passage:
    """What one stage got and gave when the chain ran in sequence.

    Attributes
    ----------
    stage : Stage
    inputs : dict
        Input and parameters by name, the input first.
    point : Point
        Copies of them, made before the stage saw them; its leaves are named after the stage.
    is_finite : bool
        Whether the input is; without that there is nothing to check.
    cache : object
        What forward kept.
    upstream : array, shape (M,), or None
        What reached the stage, as one vector; None where nothing usable did.
    reading : Reading or None
        What backward returned for it, read at once.
    writer : str
        The stage that wrote into what this one had kept or returned; empty for none.
    is_overwritten : bool
        Whether it wrote into a gradient that this one had returned.
    """

    stage: Stage
    inputs: dict[str, Any]
    point: Point
    is_finite: bool = True
    cache: Any = None
    upstream: Floats | None = None
    reading: Reading | None = None
    writer: str = ""
    is_overwritten: bool = False

    @property
    def input_name(self) -> str:
        """The name of the input among the inputs."""
        return next(iter(self.inputs))

    @property
    def input_leaves(self) -> range:
        """Positions of the leaves of the input; those of the parameters follow."""
        return range(len(flatten(self.inputs[self.input_name])[0]))

    @property
    def is_checkable(self) -> bool:
        """Whether there is something to differentiate, at finite values."""
        return self.is_finite and bool(self.point.free())

    def downstream(self) -> Floats | None:
        """Return the gradient of the input, as one vector; None where it is missing or of no use."""
        parts = []
        for i in self.input_leaves:
            leaf = self.point.leaves[i]
            part = self.reading.values.get(i) if self.reading and leaf.is_differentiable else np.zeros(leaf.value.size)
            if part is None or not np.all(np.isfinite(part)):
                return None
            parts.append(part)
        return np.concatenate(parts) if parts else None


@dataclass(slots=True)
class _Kept:
    """An array of a passage, and what was in it when it was last its own."""

    owner: Passage
    array: Any
    copy: NDArray[Any]
    is_returned: bool


@dataclass(slots=True)
class _Watch:
    """Remembers arrays of each passage, and notices who writes into those of another."""

    kept: list[_Kept] = field(default_factory=list)

    def keep(self, owner: Passage, thing: Any, *, is_returned: bool = False) -> None:
        """Remember the arrays in something that a stage kept or returned."""
        self.kept += [_Kept(owner, array, as_numpy(array).copy(), is_returned) for array in arrays_in(thing)]

    def look(self, writer: Passage) -> None:
        """Notice what has changed since the last look: it was written by this stage."""
        for kept in self.kept:
            if is_still(kept.array, kept.copy):
                continue
            kept.copy = as_numpy(kept.array).copy()
            if kept.owner is not writer and not kept.owner.writer:
                kept.owner.writer, kept.owner.is_overwritten = writer.stage.name, kept.is_returned


def pass_through(stages: list[Stage], x: Any, budget: Budget) -> list[Passage]:
    """Run the chain forward and backward, each stage on the very objects that its neighbours return.

    Parameters
    ----------
    stages : list of Stage
    x : tree
        The input of the first.
    budget : Budget
        Counts the calls of forwards.

    Raises
    ------
    InvalidArgument
        When a stage or its input cannot be differentiated.
    BudgetExhaustedError
        When the chain cannot be run once.
    """
    passages: list[Passage] = []
    watch = _Watch()
    y = x
    for stage in stages:
        passage = _arrive(stage, y, is_first=not passages)
        handed = passage.point.tree()
        if passages:
            handed[passage.input_name] = y
        budget.spend()
        y, passage.cache = stage.run(handed, "at the given point")
        passages.append(passage)
        watch.look(passage)
        watch.keep(passage, passage.cache)
    if not any(passage.point.free() for passage in passages):
        raise InvalidArgument("neither x nor any params hold a floating-point element; there is nothing to check.")
    _name_leaves(passages)
    form = Output.of(y, stages[-1].pair[0])
    _pull_back(passages, form.like(np.ones(form.size)), np.ones(form.size), watch)
    return passages


def _arrive(stage: Stage, x: Any, *, is_first: bool) -> Passage:
    """Copy the inputs of a stage, and refuse what the user gave and cannot be differentiated."""
    inputs = stage.inputs(x)
    argument = f"the inputs of stage {stage.name!r}"
    settings = tuple(name for name, value in list(inputs.items())[1:] if holds_settings(value))
    passage = Passage(stage, inputs, Point(*flatten(inputs, argument=argument, settings=settings), settings))
    leaves = [passage.point.leaves[i] for i in passage.input_leaves]
    passage.is_finite = all(np.all(np.isfinite(leaf.value)) for leaf in leaves)
    given = inputs if is_first or passage.is_finite else dict(list(inputs.items())[1:])
    if any(leaf.value.size and leaf.is_differentiable for leaf in flatten(given, settings=settings)[0]):
        inputs_of(given, argument)
    return passage


def _name_leaves(passages: list[Passage]) -> None:
    """Put the name of the stage before those of its leaves, in a form that keeps them apart."""
    pairs = [(passage.stage.name, leaf.name) for passage in passages for leaf in passage.point.leaves]
    is_plain = len({f"{stage}.{leaf}" for stage, leaf in pairs}) == len(pairs)
    for passage in passages:
        stage = passage.stage.name if is_plain else f"[{passage.stage.name!r}]"
        leaves = [replace(leaf, name=f"{stage}.{leaf.name}") for leaf in passage.point.leaves]
        passage.point = replace(passage.point, leaves=leaves)


def _pull_back(passages: list[Passage], dy: Any, upstream: Floats | None, watch: _Watch) -> None:
    """Pull an upstream back from the end, as far as the gradients of the inputs reach."""
    for passage in reversed(passages):
        if upstream is None or not passage.is_checkable:
            return
        passage.upstream = upstream
        gradients = passage.stage.pull(dy, passage.cache, passage.inputs, "with the upstream that reaches it")
        passage.reading = read_gradient(gradients, passage.inputs, passage.point.leaves, optional=True)
        watch.look(passage)
        upstream = passage.downstream()
        if upstream is not None:
            dy = gradients[passage.input_name]
            watch.keep(
                passage, [part for name, part in gradients.items() if name != passage.input_name], is_returned=True
            )
