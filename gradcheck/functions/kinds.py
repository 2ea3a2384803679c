"""The kinds of arrays that a user may give, and how NumPy arrays are given back as such.

A kind is made from the user's own array, once; then it is called for every point. It pickles. Libraries are looked up among
the modules that are loaded; only in another process, where a kind may arrive first, is one imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NUMPY",
    "Constant",
    "InNamespace",
    "JaxArray",
    "Kind",
    "Labelled",
    "MyGradTensor",
    "Number",
    "NumberList",
    "Subclass",
    "Tensor",
]

Array = NDArray[Any]


def _module(name: str) -> Any:
    return sys.modules.get(name) or import_module(name)


class Kind:
    """What a leaf is given back as: called with an array, it returns that in the user's own kind.

    It is the kind of NumPy's arrays, which are given back as they are. It pickles.
    """

    __slots__ = ()

    def __call__(self, array: Array) -> Any:
        """Give an array back in this kind; memory is shared where the kind can."""
        return array

    @property
    def can_be_shared(self) -> bool:
        """Whether one object may be given to every call without a copy: it is immutable, or the user's own."""
        return False

    def can_hold(self, array: Array) -> bool:
        """Tell whether arrays of this kind may lie in memory as this one does."""
        del array
        return True

    def widened(self) -> Kind:
        """Return the same kind in float64."""
        return self

    def aligned(self, thing: Any) -> Any:
        """Return what is like an array of this kind, but for an order that labels tell, in the order of this one."""
        return thing

    def nothing(self, array: Array) -> Any:
        """Return the tangent of an array that is held fixed: zeros, in float64 for integers."""
        return self(np.zeros(array.shape, array.dtype if array.dtype.kind == "f" else np.float64))


NUMPY = Kind()


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """A Python or NumPy number."""

    cls: Callable[[Any], Any]

    def __call__(self, array: Array) -> Any:
        """Return a number of the same type; a stack of copies, or a step along the imaginary axis, as it is."""
        if array.ndim or array.dtype.kind == "c":
            return array[()]
        return self.cls(array[()])

    @property
    def can_be_shared(self) -> bool:
        """Whether it is a number that holds nothing beside its value."""
        return self.cls in (float, int, bool) or (isinstance(self.cls, type) and issubclass(self.cls, np.generic))

    def widened(self) -> Kind:
        """Return a number in float64."""
        return Number(np.float64)

    def nothing(self, array: Array) -> Any:
        """Return zero."""
        del array
        return 0.0


@dataclass(frozen=True, slots=True)
class Constant(Kind):
    """Something that is no array: whatever the array, it is handed through."""

    value: Any

    def __call__(self, array: Array) -> Any:
        """Return it."""
        del array
        return self.value

    @property
    def can_be_shared(self) -> bool:
        """Whether it may be handed over every time, as it is."""
        return True

    def nothing(self, array: Array) -> Any:
        """Return none."""
        del array


class NumberList(Kind):
    """A list of plain numbers: a 1-D array of floats."""

    __slots__ = ()

    def __call__(self, array: Array) -> Any:
        """Return a list; a stack of copies, or a step along the imaginary axis, as it is."""
        return array.tolist() if array.ndim == 1 else array

    def can_hold(self, array: Array) -> bool:
        """Tell whether it is contiguous."""
        return array.flags.c_contiguous


class Contiguous(Kind):
    """A kind whose arrays lie in memory in one way only."""

    __slots__ = ()

    def can_hold(self, array: Array) -> bool:
        """Tell whether it is contiguous."""
        return array.flags.c_contiguous


@dataclass(frozen=True, slots=True)
class Subclass(Contiguous):
    """A subclass of NumPy's array, or a dtype that somebody added to NumPy's."""

    cls: type
    dtype: np.dtype[Any] | None

    def __call__(self, array: Array) -> Any:
        """View it as the subclass, in the added dtype."""
        if self.dtype is not None and array.dtype.kind == "f":
            array = array.astype(self.dtype)
        return array if self.cls is np.ndarray else array.view(self.cls)

    def widened(self) -> Kind:
        """Return the subclass in float64."""
        return replace(self, dtype=None)


@dataclass(frozen=True, slots=True)
class Tensor(Kind):
    """A PyTorch tensor."""

    cls: Any
    dtype: Any
    device: Any
    requires_grad: bool
    is_narrow: bool
    """Whether NumPy lacks the dtype."""

    def __call__(self, array: Array) -> Any:
        """Return a tensor of the same class, dtype and device, on the array's memory where all of that allows it."""
        torch = _module("torch")
        tensor = torch.from_numpy(array if isinstance(array, np.ndarray) else np.asarray(array))
        if self.is_narrow and array.dtype.kind == "f":
            tensor = tensor.to(self.dtype)
        if self.device.type != "cpu":
            tensor = tensor.to(self.device)
        if self.cls is torch.nn.Parameter:
            return self.cls(tensor, requires_grad=self.requires_grad)
        if self.cls is not torch.Tensor:
            tensor = tensor.as_subclass(self.cls)
        return tensor.requires_grad_() if self.requires_grad else tensor

    def can_hold(self, array: Array) -> bool:
        """Tell whether no stride is negative; parameters of modules stay as they were."""
        if self.cls is _module("torch").nn.Parameter:
            return array.flags.c_contiguous
        return all(stride >= 0 for stride in array.strides)

    def widened(self) -> Kind:
        """Return a tensor in float64."""
        return replace(self, dtype=_module("torch").float64, is_narrow=False)

    def nothing(self, array: Array) -> Any:
        """Return zeros."""
        torch = _module("torch")
        dtype = self.dtype if array.dtype.kind == "f" else torch.float64
        return torch.zeros(array.shape, dtype=dtype, device=self.device)


@cache
def _into_jax() -> Callable[[Any], Any]:
    """Return what makes arrays of JAX; compiled, it takes a quarter of the time, and one that has been seen compiles nothing."""
    return _module("jax").jit(_module("jax.numpy").asarray)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class JaxArray(Contiguous):
    """A JAX array. It cannot be changed in place, and has no say in how it lies in memory."""

    dtype: Any
    sharding: Any
    """None for the default device."""
    is_weak: bool
    """Whether its type gives way to others, as that of a Python number does."""

    def __call__(self, array: Array) -> Any:
        """Return an array of the same dtype in the same place."""
        if array.dtype != self.dtype and array.dtype.kind == "f":
            array = array.astype(self.dtype)
        if self.sharding is not None:
            return _module("jax").device_put(array, self.sharding)
        return _into_jax()(array.item() if self.is_weak and not array.ndim else array)

    def widened(self) -> Kind:
        """Return an array in float64, where JAX is told to have it."""
        return replace(self, dtype=np.dtype(np.float64), is_weak=False)

    def nothing(self, array: Array) -> Any:
        """Return zeros; for integers in the type that JAX gives to their tangents."""
        return (
            self(np.zeros_like(array))
            if array.dtype.kind == "f"
            else np.zeros(array.shape, _module("jax").dtypes.float0)
        )


@dataclass(frozen=True, slots=True)
class MyGradTensor(Kind):
    """A tensor of MyGrad."""

    constant: bool

    def __call__(self, array: Array) -> Any:
        """Return a tensor on the array's memory."""
        is_float = array.dtype.kind == "f"
        return _module("mygrad").Tensor(array, constant=self.constant if is_float else None, copy=False)


@dataclass(frozen=True, slots=True)
class Labelled(Contiguous):
    """A Series or DataFrame of pandas."""

    cls: Any
    labels: tuple[tuple[str, Any], ...]
    ndim: int

    def __call__(self, array: Array) -> Any:
        """Return the same with the same labels; a stack of copies has none, and stays as it is."""
        return self.cls(array, copy=False, **dict(self.labels)) if array.ndim == self.ndim else array

    def aligned(self, thing: Any) -> Any:
        """Return a Series or DataFrame with the same labels in their order here, as pandas' own arithmetic does."""
        if not isinstance(thing, self.cls):
            return thing
        for axis, labels in self.labels:
            own = getattr(thing, axis)
            if axis != "name" and not own.equals(labels) and labels.is_unique and set(own) == set(labels):
                thing = thing.reindex(**{axis: labels}) if len(own) == len(labels) else thing
        return thing


@dataclass(frozen=True, slots=True)
class InNamespace(Contiguous):
    """An array of any library that keeps the array API standard, or of CuPy."""

    namespace: str
    device: Any

    def __call__(self, array: Array) -> Any:
        """Return an array of that library on the same device."""
        library = _module(self.namespace)
        return library.asarray(array) if self.device is None else library.asarray(array, device=self.device)
