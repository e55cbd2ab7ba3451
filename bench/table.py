"""The table: one row per figure, with its baseline and whether the target is met."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`value` and `baseline` in `unit`; `target` bounds `value` or, if `of_ratio`, value/baseline, from above.

    `of_pairs`: the ratio, where both were measured in alternating turns and each pair of turns has its own ratio.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    baseline_name: str = ""
    target: float | None = None
    of_ratio: bool = False
    at_least: bool = False  # then the target bounds from below
    of_pairs: float | None = None

    @property
    def ratio(self) -> float | None:
        if self.of_pairs is not None:
            return self.of_pairs
        return self.value / self.baseline if self.baseline else None

    @property
    def verdict(self) -> str:
        judged = self.ratio if self.of_ratio else self.value
        if self.target is None or judged is None:
            return ""
        met = judged >= self.target if self.at_least else judged <= self.target
        bound = "≥" if self.at_least else "≤"
        return f"{'ok' if met else 'MISSED'} ({bound} {self.target:g}{' x' if self.of_ratio else ''})"


def quantile(samples: Sequence[float], share: float) -> float:
    """The `share` quantile by nearest rank, so that it is one of the samples."""
    ranked = sorted(samples)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


median = statistics.median


def render(rows: Sequence[Row]) -> str:
    """The rows as aligned text with a heading."""
    cells = [("what", "measured", "baseline", "ratio", "target")]
    for row in rows:
        baseline = f"{row.baseline:.3g} {row.unit} {row.baseline_name}" if row.baseline is not None else ""
        ratio = f"{row.ratio:.2f} x" if row.ratio is not None else ""
        cells.append((row.name, f"{row.value:.3g} {row.unit}", baseline, ratio, row.verdict))
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )
