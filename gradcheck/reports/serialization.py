"""Reports as strict JSON, and back.

A report of a million elements is mostly numbers that no reader asks for, so JSON holds by default only those of wrong
and undecided elements. Which elements these are, all of them, is kept as packed bits: the text of a report that was
read back is the text of the original.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import InvalidArgument

__all__ = ["ARRAYS", "SCHEMA", "Arrays", "dump", "fingerprint", "masks_of", "parse", "plain", "values_of"]

SCHEMA = 1
"""Raised when a field changes its meaning or goes; new fields do not raise it."""

MOST_ELEMENTS = 1000
"""Elements of a parameter whose numbers are kept, those furthest outside their bound first: some 80 bytes each."""

MOST_OF_REPORT = 5000
"""Elements of all parameters together, each of which keeps an equal share and one at least: a report stays below a megabyte."""

MOST_CHARACTERS = 1_000_000
"""Characters of a report that keeps wrong elements only, above which fewer are kept, one of each parameter at least."""

Arrays = Literal["wrong", "all", "none"]
ARRAYS = ("wrong", "all", "none")

VERDICTS = ("pass", "fail", "inconclusive")
NUMBERS = ("claimed", "reference", "error_bound")
MASKS = ("wrong", "undecided", "kink")

NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def plain(value: Any) -> Any:
    """Return dataclasses, mappings, arrays and numbers as dicts, lists and plain Python values; numbers may be NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value):
        own = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {**own.pop("divergence"), **own} if "divergence" in own else own
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def fingerprint(value: Any) -> str:
    """Return text that is the same for equal values only; NaN equals NaN."""
    return json.dumps(_strict(plain(value)))


def dump(report: Any, arrays: Arrays) -> str:
    """Write a report as strict JSON; what is not finite is a string, ``"nan"``, ``"inf"`` or ``"-inf"``."""
    if arrays not in ARRAYS:
        raise InvalidArgument(f"arrays={arrays!r}; it is one of {', '.join(map(repr, ARRAYS))}.")
    own = {field.name: plain(getattr(report, field.name)) for field in fields(report) if field.name != "parameters"}
    listed = sum(bool(np.any(parameter.wrong | parameter.undecided)) for parameter in report.parameters.values())
    most = min(MOST_ELEMENTS, max(1, MOST_OF_REPORT // max(1, listed))) if arrays == "wrong" else 1
    while True:
        parameters = {name: _parameter(parameter, arrays, most) for name, parameter in report.parameters.items()}
        whole = {"schema": SCHEMA, "verdict": report.verdict, "ok": report.ok, "parameters": parameters, **own}
        text = json.dumps(_strict(whole), allow_nan=False, separators=(",", ":"))
        if arrays != "wrong" or len(text) <= MOST_CHARACTERS or most == 1:
            return text
        most = max(1, most // 2)


def _parameter(parameter: Any, arrays: Arrays, most: int) -> dict[str, Any]:
    own = {
        field.name: plain(getattr(parameter, field.name))
        for field in fields(parameter)
        if field.name not in {*NUMBERS, *MASKS, "divergence"}
    }
    masks = {name: np.asarray(getattr(parameter, name)) for name in MASKS}
    if arrays == "all":
        elements: dict[str, Any] = {name: plain(getattr(parameter, name)) for name in (*NUMBERS, *MASKS)}
    else:
        kept = _kept(parameter, most)
        places = np.unravel_index(kept, parameter.shape or (1,))
        index = np.stack(places, axis=1)[:, : len(parameter.shape)].tolist()
        numbers = {name: getattr(parameter, name).ravel()[kept].tolist() for name in NUMBERS}
        elements = {
            "elements": {"index": index, **numbers},
            "masks": {name: _pack(mask) for name, mask in masks.items()},
        }
    counts = {name: int(np.count_nonzero(mask)) for name, mask in masks.items()}
    return {**own, **plain(parameter.divergence), "counts": counts, **elements}


def _kept(parameter: Any, most: int) -> NDArray[np.intp]:
    """Return the elements whose numbers are kept: wrong and undecided ones that were measured, the worst first."""
    chosen = np.flatnonzero((parameter.wrong | parameter.undecided) & ~np.isnan(parameter.reference))
    order = np.argsort(-parameter.excess().ravel()[chosen], kind="stable")
    kept = chosen[order][:most]
    worst = parameter.worst()
    if worst is None or not len(chosen):
        return kept
    first = _flat(np.array([worst], dtype=np.intp), parameter.shape)[0]
    return np.concatenate([[first], kept[kept != first]])[:most].astype(np.intp)


def _flat(index: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the flat indices of some elements, index of shape (m, ndim); NumPy's own function ends at 32 axes."""
    flat = np.zeros(len(index), dtype=np.intp)
    for axis, size in enumerate(shape):
        flat = flat * size + index[:, axis]
    return flat


def _pack(mask: NDArray[np.bool_]) -> str:
    return base64.b64encode(zlib.compress(np.packbits(mask.ravel()).tobytes(), 9)).decode("ascii")


def _unpack(text: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    count = math.prod(shape)
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    if not count <= 8 * bits.size < count + 8:
        raise ValueError(f"{8 * bits.size} bits for {count} elements")
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(key): _strict(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_strict(entry) for entry in value]
    if isinstance(value, str):
        return _text(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate, as in a name made of undecodable bytes, is escaped."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def parse(text: str) -> dict[str, Any]:
    """Read JSON that `dump` wrote.

    Raises
    ------
    InvalidArgument
        When it is no JSON, no report, or one of a later schema.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"this is no JSON ({error}); give what Report.to_json() wrote.") from error
    if not isinstance(data, dict) or not {"schema", "verdict", "parameters"} <= data.keys():
        raise InvalidArgument("this JSON is no report of gradcheck; give what Report.to_json() wrote.")
    if data["schema"] != SCHEMA:
        raise InvalidArgument(
            f"the report has schema {data['schema']!r}, and this version reads {SCHEMA}; update gradcheck."
        )
    if data["verdict"] not in VERDICTS:
        raise InvalidArgument(f"the report's verdict is {data['verdict']!r}; it is one of {', '.join(VERDICTS)}.")
    loaded = _loose(data)
    assert isinstance(loaded, dict)  # noqa: S101 - tells the type checker what _loose makes of a dict
    return loaded


def _loose(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _loose(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_loose(entry) for entry in value]
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value


def values_of(entry: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, NDArray[np.float64]]:
    """Return claimed, reference and error bound of one parameter; NaN where they were not kept."""
    if "elements" not in entry:
        return {name: np.array(entry[name], dtype=np.float64).reshape(shape) for name in NUMBERS}
    kept = entry["elements"]
    found = {name: np.full(shape, np.nan) for name in NUMBERS}
    index = np.array(kept["index"], dtype=np.intp).reshape(len(kept["index"]), len(shape))
    flat = _flat(index, shape)
    for name, array in found.items():
        array.ravel()[flat] = kept[name]
    return found


def masks_of(entry: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, NDArray[np.bool_]]:
    """Return where one parameter is wrong, undecided and at a kink."""
    if "masks" in entry:
        return {name: _unpack(entry["masks"][name], shape) for name in MASKS}
    return {name: np.array(entry[name], dtype=bool).reshape(shape) for name in MASKS}
