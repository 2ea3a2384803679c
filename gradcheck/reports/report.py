"""What a check found, as data and as the text that people read."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradcheck.errors import GradientError, InvalidArgument, described
from gradcheck.reports.comparison import Divergence
from gradcheck.reports.markdown import to_markdown
from gradcheck.reports.page import fragment, page_of
from gradcheck.reports.plots import heat_map
from gradcheck.reports.serialization import Arrays, dump, fingerprint, masks_of, parse, plain, values_of
from gradcheck.reports.text import one_line, render
from gradcheck.watching import tolerates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Diagnosis", "Finding", "ParameterReport", "Report", "Verdict", "write_html"]

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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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
    looked_at : int
        Elements that were measured one by one; the others were judged along random directions, or not at all.
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
    looked_at: int
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

    def __repr__(self) -> str:
        """Return one line, without the arrays."""
        counts = f"{int(self.wrong.sum())} wrong, {int(self.undecided.sum())} undecided of {self.wrong.size}"
        return f"<ParameterReport {self.name!r} {self.shape}: {counts}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParameterReport) and fingerprint(self) == fingerprint(other)

    def __hash__(self) -> int:
        return hash((self.name, self.shape))

    def excess(self) -> NDArray[np.float64]:
        """Return the error of each element in units of its bound, in the parameter's shape; NaN where nothing was measured."""
        with np.errstate(all="ignore"):
            apart = np.abs(self.claimed - self.reference)
            ratio = apart / np.maximum(np.nan_to_num(self.error_bound, nan=1.0), np.finfo(np.float64).tiny)
        return np.asarray(np.where(np.isnan(self.reference), np.nan, np.where(np.isnan(ratio), np.inf, ratio)))

    def worst(self) -> tuple[int, ...] | None:
        """Return the index of the wrong, else the undecided, element furthest outside its bound; None for an empty parameter."""
        if not self.claimed.size:
            return None
        concerned = self.wrong if self.wrong.any() else self.undecided
        rank = np.where(concerned | ~concerned.any(), np.nan_to_num(self.excess(), nan=-0.5, posinf=np.inf), -1.0)
        return tuple(int(i) for i in np.unravel_index(int(np.argmax(rank)), self.shape))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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

    def __repr__(self) -> str:
        """Return one line of at most 200 characters."""
        return one_line(self)

    def _repr_html_(self) -> str:
        return fragment(self)

    def to_markdown(self) -> str:
        """Return the report as Markdown: the verdict, a table of the parameters, diagnoses, and what is not covered."""
        return to_markdown(self)

    def assert_ok(self) -> None:
        """Raise `GradientError` with this report unless the verdict is ``"pass"``."""
        __tracebackhide__ = True  # pytest then shows the user's own line above the report
        # Hypothesis tells failures apart by the line that raises: so a wrong gradient never shrinks to one that cannot be judged.
        if self.verdict == "fail":
            raise GradientError(self)
        if not (self.ok or tolerates(self)):
            raise GradientError(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Report) and fingerprint(self) == fingerprint(other)

    def __hash__(self) -> int:
        return hash((self.verdict, self.evaluations, *self.parameters))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as dicts, lists, strings, numbers, booleans and None; numbers may be NaN."""
        return {"verdict": self.verdict, "ok": self.ok, **plain(self)}

    def to_json(self, arrays: Arrays = "wrong") -> str:
        """Return the report as strict JSON: what is not finite is a string, ``"nan"``, ``"inf"`` or ``"-inf"``.

        Parameters
        ----------
        arrays : {"wrong", "all", "none"}
            Of which elements the numbers are kept: of wrong and undecided ones that were measured, at most 1,000 a parameter; of all, as
            nested lists; or of the worst of each parameter only. Which elements are wrong, undecided and at a kink is
            always kept.
        """
        return dump(self, arrays)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Return the report that `to_json` wrote; numbers that were not kept are NaN, and its text is the same.

        Raises
        ------
        InvalidArgument
            When ``text`` is no JSON, no report, or one of a later schema.
        """
        data = parse(text)
        try:
            own = {f.name: data[f.name] for f in fields(cls) if f.name in data}
            own["parameters"] = {name: _parameter_from(entry) for name, entry in data["parameters"].items()}
            own["findings"] = tuple(Finding(**entry) for entry in data["findings"])
            own["blind_spots"] = tuple(data["blind_spots"])
            return cls(**own)
        except (LookupError, TypeError, ValueError, AttributeError, zlib.error) as error:
            raise InvalidArgument(
                f"the report is damaged ({type(error).__name__}: {error}); give what Report.to_json() wrote, as it was."
            ) from error

    def to_html(self, path: str | Path) -> None:
        """Write the report as a page of its own: it needs no script, no network and no other file."""
        write_html({"": self}, path)

    def plot(self, parameter: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw the error of one parameter in units of its bound, as a heat map.

        Parameters
        ----------
        parameter : str, optional
            Its name; by default the worst one.
        ax : matplotlib axes, optional
            Where to draw; by default on a figure of its own.

        Returns
        -------
        ax : matplotlib axes

        Raises
        ------
        InvalidArgument
            When there is no such parameter.
        MissingDependency
            Without matplotlib.
        """
        return heat_map(self, parameter, ax)


def _parameter_from(entry: Mapping[str, Any]) -> ParameterReport:
    shape = tuple(entry["shape"])
    masks = masks_of(entry, shape)  # before anything is made as large as the shape says
    arrays: dict[str, Any] = {**values_of(entry, shape), **masks}
    return ParameterReport(
        name=entry["name"],
        shape=shape,
        dtype=np.dtype(entry["dtype"]),
        **arrays,
        looked_at=entry["looked_at"],
        divergence=Divergence(**{f.name: entry[f.name] for f in fields(Divergence)}),
        detection_floor=entry["detection_floor"],
        diagnoses=tuple(Diagnosis(**diagnosis) for diagnosis in entry["diagnoses"]),
    )


def write_html(reports: Mapping[str, Report], path: str | Path) -> None:
    """Write many reports as one page, those that do not pass first.

    Parameters
    ----------
    reports : mapping
        Title -> report.
    path : str or Path
        The file to write.

    Raises
    ------
    InvalidArgument
        When something in ``reports`` is no report.
    """
    given: object = reports
    if not isinstance(given, Mapping):
        raise InvalidArgument(
            f"reports is {described(given)}; a mapping of titles to reports was required: {{'one': report}}."
        )
    for name, report in reports.items():
        if not isinstance(report, Report):
            raise InvalidArgument(f"reports[{name!r}] is {described(report)}; a Report was required.")
    named = {str(name): report for name, report in reports.items()}
    Path(path).write_text(page_of(named), encoding="utf-8", errors="backslashreplace")
