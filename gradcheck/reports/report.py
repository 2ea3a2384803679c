"""What a check found, as data and as the text that people read."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import GradientError
from gradcheck.reports.comparison import Divergence
from gradcheck.reports.text import render

__all__ = ["Diagnosis", "Finding", "ParameterReport", "Report", "Verdict"]

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that the check has to say.

    Attributes
    ----------
    code : str
        Stable name of the kind of finding.
    message : str
        One sentence.
    where : str
        The parameter, input or stage concerned; empty for the whole check.
    evidence : dict
        The numbers behind it.
    """

    code: str
    message: str
    where: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """An explanation of what is wrong with one parameter's gradient.

    Attributes
    ----------
    kind : str
        Stable name of the kind of fault.
    message : str
        One sentence.
    fit : float
        How much of the error it explains, from 0 to 1.
    evidence : dict
        The numbers behind it.
    """

    kind: str
    message: str
    fit: float
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterReport:
    """What was found about one parameter.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : dtype
        Of the parameter.
    claimed, reference, error_bound : arrays of float64, in the parameter's shape
        NaN where not probed; ``claimed`` is NaN throughout where its shape does not fit.
    wrong, undecided, kink : arrays of bool, in the parameter's shape
    divergence : Divergence
        Of the whole parameter; its fields are attributes of this object too.
    detection_floor : float
        The smallest absolute error in one element that this check would have called wrong.
    diagnoses : tuple of Diagnosis
        Best first.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    claimed: NDArray[np.float64]
    reference: NDArray[np.float64]
    error_bound: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    undecided: NDArray[np.bool_]
    kink: NDArray[np.bool_]
    divergence: Divergence
    detection_floor: float
    diagnoses: tuple[Diagnosis, ...] = ()

    @property
    def relative_error(self) -> float:
        """See `Divergence.relative_error`."""
        return self.divergence.relative_error

    @property
    def cosine(self) -> float:
        """See `Divergence.cosine`."""
        return self.divergence.cosine

    @property
    def angle(self) -> float:
        """See `Divergence.angle`."""
        return self.divergence.angle

    @property
    def norm_ratio(self) -> float:
        """See `Divergence.norm_ratio`."""
        return self.divergence.norm_ratio

    @property
    def sign_agreement(self) -> float:
        """See `Divergence.sign_agreement`."""
        return self.divergence.sign_agreement

    @property
    def max_abs_error(self) -> float:
        """See `Divergence.max_abs_error`."""
        return self.divergence.max_abs_error

    @property
    def digits(self) -> float:
        """See `Divergence.digits`."""
        return self.divergence.digits

    def worst(self) -> tuple[int, ...] | None:
        """Return the index of the element that is furthest outside its bound, or None for an empty parameter."""
        if not self.claimed.size:
            return None
        with np.errstate(all="ignore"):
            apart = np.abs(self.claimed - self.reference)
            excess = apart / np.maximum(np.nan_to_num(self.error_bound, nan=1.0), np.finfo(float).tiny)
        rank = np.where(self.wrong | ~self.wrong.any(), np.where(np.isnan(excess), np.inf, excess), -1.0)
        return tuple(int(i) for i in np.unravel_index(int(np.argmax(rank)), self.shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a check. It is true in a condition only when the verdict is ``"pass"``.

    Attributes
    ----------
    verdict : {"pass", "fail", "inconclusive"}
    parameters : dict
        Name -> `ParameterReport`, in the order of the parameters.
    findings : tuple of Finding
        Worst first; a ``"fail"`` has at least one.
    stage : str or None
        The wrong stage of a chain.
    blind_spots : tuple of str
        What this check could not see.
    evaluations, gradient_evaluations : int
        Calls of the function and of the gradient under test.
    seconds : float
    seed : str
        What to pass as ``rng`` to repeat the check.
    """

    verdict: Verdict
    parameters: Mapping[str, ParameterReport]
    findings: tuple[Finding, ...] = ()
    stage: str | None = None
    blind_spots: tuple[str, ...] = ()
    evaluations: int = 0
    gradient_evaluations: int = 0
    seconds: float = 0.0
    seed: str = "0"

    @property
    def ok(self) -> bool:
        """Whether the verdict is ``"pass"``."""
        return self.verdict == "pass"

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, *, everything: bool = False) -> str:
        """Return the report as people read it: the worst first, about 30 lines at most, or everything."""
        return render(self, everything=everything)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def assert_ok(self) -> None:
        """Raise `GradientError` with this report unless the verdict is ``"pass"``."""
        __tracebackhide__ = True  # pytest then shows the user's own line above the report
        if not self.ok:
            raise GradientError(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as dicts, lists, strings, numbers, booleans and None; numbers may be NaN."""
        plain = _plain(self)
        assert isinstance(plain, dict)  # noqa: S101 - tells the type checker what _plain makes of a dataclass
        return {"verdict": self.verdict, "ok": self.ok, **plain}

    def to_json(self) -> str:
        """Return the report as strict JSON: what is not finite is a string, ``"nan"``, ``"inf"`` or ``"-inf"``."""
        return json.dumps(_strict(self.to_dict()), allow_nan=False)

    def to_html(self, path: str | Path) -> None:
        """Write the report as a page of its own."""
        page = (
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
            f"<title>gradcheck: {self.verdict}</title></head><body>{self._repr_html_()}</body></html>\n"
        )
        Path(path).write_text(page, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Divergence | Finding | Diagnosis | ParameterReport | Report):
        fields = {name: _plain(getattr(value, name)) for name in value.__slots__}
        return {**fields.pop("divergence"), **fields} if "divergence" in fields else fields
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_strict(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
