"""Arrays of any library, read as NumPy's.

Nothing is imported for it: what is not among the modules that are loaded cannot be an argument. Numbers are read from
the array's own memory where it has memory that NumPy can see, so that what is done to it in place is seen.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import described
from gradcheck.functions.blocks import are_equal
from gradcheck.functions.containers import is_number_list
from gradcheck.functions.formats import BFLOAT16, Format, format_of
from gradcheck.functions.kinds import (
    NUMPY,
    InNamespace,
    JaxArray,
    Kind,
    Labelled,
    MyGradTensor,
    Number,
    NumberList,
    Subclass,
    Tensor,
)

__all__ = [
    "NUMBERS",
    "as_numpy",
    "form_of",
    "format_in",
    "is_array",
    "is_mutable",
    "is_still",
    "memory_of",
    "overwrite",
]

Array = NDArray[Any]
Form = tuple[Kind, Format]


class _Library:
    """How the arrays of one library are read."""

    module = ""
    classes: tuple[str, ...] = ()
    is_mutable = True

    def holds(self, cls: type) -> bool:
        """Tell whether a class is one of this library's arrays."""
        module = sys.modules.get(self.module)
        return module is not None and any(issubclass(cls, getattr(module, name, ())) for name in self.classes)

    def numbers(self, thing: Any) -> Array:
        """Return its numbers, in the array's own memory where NumPy can see it."""
        return np.asarray(thing)

    def form(self, thing: Any, *, is_value: bool) -> Form:
        """Return what it is given back as."""
        raise NotImplementedError

    def memory(self, thing: Any) -> Array | None:
        """Return its memory, whatever the numbers in it mean; None where NumPy cannot see it."""
        return self.numbers(thing)


class _NumPy(_Library):
    def holds(self, cls: type) -> bool:
        return issubclass(cls, np.ndarray)

    def form(self, thing: Any, *, is_value: bool) -> Form:
        del is_value
        if isinstance(thing, np.ma.MaskedArray) and np.any(np.ma.getmaskarray(thing)):
            raise TypeError("a masked array", "fill it, with filled(0.0), or take compressed()")
        added = thing.dtype if thing.dtype.name == "bfloat16" else None
        plain = type(thing) is np.ndarray and added is None
        return NUMPY if plain else Subclass(type(thing), added), _format(thing)


class _Torch(_Library):
    module, classes = "torch", ("Tensor",)

    def numbers(self, thing: Any) -> Array:
        torch = sys.modules["torch"]
        if thing.dtype is torch.bfloat16:
            thing = thing.detach().float()
        if thing.layout is not torch.strided:
            thing = thing.to_dense()
        numbers: Array = thing.numpy(force=True)
        return numbers

    def form(self, thing: Any, *, is_value: bool) -> Form:
        torch = sys.modules["torch"]
        if thing.device.type == "meta":
            raise TypeError("a tensor on the meta device, which holds no numbers", "give one with values")
        cls = torch.Tensor if is_value and isinstance(thing, torch.nn.Parameter) else type(thing)
        is_narrow = thing.dtype is torch.bfloat16
        dtype = torch.empty(0, dtype=torch.float32 if is_narrow else thing.dtype).numpy().dtype
        kind = Tensor(cls, thing.dtype, thing.device, bool(thing.requires_grad) and not is_value, is_narrow)
        return kind, BFLOAT16 if is_narrow else format_of(dtype)

    def memory(self, thing: Any) -> Array | None:
        torch = sys.modules["torch"]
        if thing.device.type != "cpu" or thing.layout is not torch.strided:
            return None
        thing = thing.detach()
        memory: Array = (thing.view(torch.int16) if thing.dtype is torch.bfloat16 else thing).numpy(force=True)
        return memory


class _Jax(_Library):
    module, classes, is_mutable = "jax", ("Array",), False

    def form(self, thing: Any, *, is_value: bool) -> Form:
        del is_value
        numbers = np.asarray(thing)
        jax = sys.modules["jax"]
        usual = jax.numpy.zeros(()).sharding
        kind = JaxArray(numbers.dtype, None if thing.sharding == usual else thing.sharding, bool(thing.weak_type))
        return kind, _format(numbers)

    def memory(self, thing: Any) -> Array | None:
        del thing
        return None


class _MyGrad(_Library):
    module, classes = "mygrad", ("Tensor",)

    def numbers(self, thing: Any) -> Array:
        numbers: Array = thing.data
        return numbers

    def form(self, thing: Any, *, is_value: bool) -> Form:
        del is_value
        return MyGradTensor(bool(thing.constant)), _format(thing.data)


class _Pandas(_Library):
    module, classes = "pandas", ("Series", "DataFrame")

    def form(self, thing: Any, *, is_value: bool) -> Form:
        del is_value
        is_frame = thing.ndim == 2
        dtypes = set(thing.dtypes) if is_frame else {thing.dtype}
        if len(dtypes) > 1:
            raise TypeError(f"a DataFrame with columns of {len(dtypes)} dtypes", "convert it with astype(float)")
        labels = (("index", thing.index), ("columns", thing.columns) if is_frame else ("name", thing.name))
        return Labelled(type(thing), labels, thing.ndim), _format(np.asarray(thing))


class _Foreign(_Library):
    """Whatever has ``__array_namespace__``, ``__array__`` or ``__dlpack__``: CuPy's arrays too."""

    def holds(self, cls: type) -> bool:
        marks = ("__array_namespace__", "__array__", "__dlpack__")
        return any(hasattr(cls, mark) for mark in marks) and not issubclass(cls, np.generic)

    def numbers(self, thing: Any) -> Array:
        if type(thing).__module__.partition(".")[0] == "cupy":  # does not leave its device unasked
            numbers: Array = thing.get()
            return numbers
        return np.asarray(thing) if hasattr(type(thing), "__array__") else np.from_dlpack(thing)

    def form(self, thing: Any, *, is_value: bool) -> Form:
        del is_value
        format_ = _format(self.numbers(thing))
        if not hasattr(type(thing), "__array_namespace__"):
            return NUMPY, format_
        return InNamespace(thing.__array_namespace__().__name__, getattr(thing, "device", None)), format_

    def memory(self, thing: Any) -> Array | None:
        del thing
        return None


_LIBRARIES = (_NumPy(), _Torch(), _Jax(), _MyGrad(), _Pandas(), _Foreign())


NUMBERS = frozenset({float, int, bool, np.float64, np.float32, np.float16})
"""Types of single numbers: what a function gives is one of these nearly always."""


@lru_cache(maxsize=256)
def _library(cls: type) -> _Library | None:
    """Return the library of a class; asked for every value, of few classes: the cache is bounded, so that it keeps no more alive."""
    return next((library for library in _LIBRARIES if library.holds(cls)), None)


def _library_of(thing: Any) -> _Library | None:
    cls: Any = type(thing)
    return _library(cls)


def _format(numbers: Array) -> Format:
    return BFLOAT16 if numbers.dtype.name == "bfloat16" else format_of(numbers.dtype)


def is_array(thing: Any) -> bool:
    """Tell whether a thing is an array of some library."""
    return _library_of(thing) is not None


def is_mutable(thing: Any) -> bool:
    """Tell whether a thing is an array that can be changed in place, of a library that is known."""
    library = _library_of(thing)
    return library is not None and library.is_mutable and not isinstance(library, _Foreign)


def as_numpy(thing: Any) -> Array:
    """Return the numbers of an array, a number or a nested list of numbers; on their own memory where NumPy can see it.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        Whatever the library raises for what holds no numbers.
    """
    if type(thing) in NUMBERS:  # thousands of times
        return np.asarray(thing)
    if type(thing) is np.ndarray and thing.dtype.kind != "V":
        return thing
    library = _library_of(thing)
    numbers = np.asarray(thing) if library is None else np.asarray(library.numbers(thing))
    if numbers.dtype.kind != "V":
        return numbers
    if numbers.dtype.names == ("float0",):  # JAX's type for tangents of integers
        return np.zeros(numbers.shape, dtype=np.bool_)
    return numbers.astype(np.float32) if numbers.dtype.name == "bfloat16" else numbers


def is_still(thing: Any, copy: Array) -> bool:
    """Tell whether an array holds the numbers that it held when they were copied."""
    return are_equal(as_numpy(thing), copy)


def format_in(thing: Any) -> Format:
    """Return the format of the numbers in an array."""
    if type(thing) is np.ndarray and thing.dtype.kind != "V":  # nearly always
        return format_of(thing.dtype)
    return BFLOAT16 if str(getattr(thing, "dtype", "")).endswith("bfloat16") else format_of(as_numpy(thing).dtype)


def overwrite(thing: Any, values: Array) -> None:
    """Write numbers into an array that can be changed in place."""
    if isinstance(thing, np.ndarray):
        thing[...] = values
    elif callable(getattr(thing, "copy_", None)):  # PyTorch, wherever the tensor is
        thing.detach().copy_(sys.modules["torch"].from_numpy(values))
    else:
        memory_of(thing)[...] = values  # type: ignore[index]


def memory_of(thing: Any) -> Array | None:
    """Return the memory in which an array lies, as an array; None where NumPy cannot see it, or nothing can change it."""
    library = _library_of(thing)
    return None if library is None else library.memory(thing)


def form_of(thing: Any, *, is_value: bool = False) -> Form:
    """Return what an array or number is given back as, and the format of its numbers.

    Parameters
    ----------
    thing : array or number
    is_value : bool
        Whether it came out of a function: what is given back like it is no parameter and requires no gradient.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        Saying what it is, and perhaps what to do, for what holds no numbers.
    """
    library = _library_of(thing)
    if library is not None:
        return library.form(thing, is_value=is_value)
    if isinstance(thing, bool | int | float | complex | np.generic):
        return Number(type(thing)), _format(np.asarray(thing))
    if is_number_list(thing):
        return NumberList(), _format(np.asarray(thing))
    raise TypeError(described(thing))
