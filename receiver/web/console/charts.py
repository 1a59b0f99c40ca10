"""Charts of counts over time: SVG made by the server, coloured by the style, which knows light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

HEIGHT, STEP = 100, 10
"""The chart's own units: its height, and the distance of two columns. The page stretches it."""
GAP = 2
MAX_LABELS = 4
"""Labels in the text of one column."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Counts of one kind, one for each step.

    Attributes:
        style: "ok" or "bad".
        labels: the counts of which it is the sum.
    """

    name: str
    style: str
    labels: Mapping[str, Sequence[int]]

    @property
    def counts(self) -> list[int]:
        """The sum of all labels, by step."""
        return [sum(values) for values in zip(*self.labels.values(), strict=True)]

    @property
    def total(self) -> int:
        """Of all steps."""
        return sum(map(sum, self.labels.values()))


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as a template shows it."""

    title: str
    span: str
    layers: Sequence[Layer]
    since: datetime
    until: datetime
    highest: int
    svg: Markup


def chart(title: str, span: str, layers: Sequence[Layer], since: datetime, step_seconds: int, steps: int) -> Chart:
    """Columns, in which the layers are stacked.

    Args:
        span: how long it is, in words.
    """
    sums = [layer.counts or [0] * steps for layer in layers]
    totals = [sum(values) for values in zip(*sums, strict=True)]
    highest = max(totals, default=0)
    parts = [Markup('<path class="grid" d="M0 {y}H{w}"/>').format(y=HEIGHT / 2, w=steps * STEP)]
    for index in range(steps):
        if not totals[index]:
            continue
        at = since + timedelta(seconds=index * step_seconds)
        parts.append(Markup('<g data-at="{}"><title>{}</title>').format(at.isoformat(), _text(layers, index)))
        bottom = float(HEIGHT)
        for layer, counts in zip(layers, sums, strict=True):
            if counts[index]:
                height = max(1.5, HEIGHT * counts[index] / highest)
                bottom = max(0.0, bottom - height)
                parts.append(
                    Markup('<rect class="{}" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>').format(
                        layer.style, index * STEP + GAP / 2, bottom, STEP - GAP, height
                    )
                )
        parts.append(Markup("</g>"))
    label = f"{title}, {span}: " + ", ".join(f"{layer.total:,} {layer.name}" for layer in layers)
    svg = Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>').format(
        max(1, steps) * STEP, HEIGHT, label, Markup("").join(parts)
    )
    return Chart(title, span, layers, since, since + timedelta(seconds=steps * step_seconds), highest, svg)


def _text(layers: Sequence[Layer], index: int) -> str:
    """What a column is made of, such as `12 accepted, 3 mismatch`."""
    found = sorted(
        ((counts[index], label) for layer in layers for label, counts in layer.labels.items() if counts[index]),
        reverse=True,
    )
    shown = [f"{count:,} {label}" for count, label in found[:MAX_LABELS]]
    return ", ".join(shown + ["…"] * (len(found) > MAX_LABELS))
