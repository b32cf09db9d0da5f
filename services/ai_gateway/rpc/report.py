"""The report of an enhancement, for people: Markdown, and one HTML page with curves and without scripts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from html import escape

from google.protobuf import json_format
from mlapi.ai_gateway.v1 import enhancement_pb2
from mlapi.training.v1 import registry_pb2

Report = enhancement_pb2.Enhancement
WIDTH, HEIGHT, MARGIN = 640, 240, 44
# Told apart without red against green.
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}"
    "th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "code{font-size:.9em}.adopt{color:#228833}.keep{color:#4477aa}svg{max-width:100%;height:auto}"
)
Table = tuple[str, Sequence[str], list[list[str]]]


def markdown(one: Report) -> str:
    """The report as Markdown."""
    lines = [f"# {_plain(_title(one))}", "", _plain(_verdict(one)), ""]
    for heading, columns, rows in _tables(one):
        lines += [f"## {_plain(heading)}", "", _row(columns), _row(["---"] * len(columns))]
        lines += [*map(_row, rows), ""]
    if one.data_warnings:
        lines += ["## Warnings about the data", "", *(f"- {_plain(text)}" for text in one.data_warnings), ""]
    return "\n".join(lines)


def html(one: Report) -> str:
    """The report as a page that needs nothing else."""
    shade = "adopt" if one.recommendation == Report.ADOPT else "keep"
    parts = [
        f"<h1>{_html(_title(one))}</h1>",
        f'<p class="{shade}"><strong>{_html(_verdict(one))}</strong></p>',
    ]
    parts.append(_curves(one))
    for heading, columns, rows in _tables(one):
        head = "".join(f"<th>{_html(name)}</th>" for name in columns)
        body = "".join(f"<tr>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>" for row in rows)
        parts.append(f"<h2>{_html(heading)}</h2><table><tr>{head}</tr>{body}</table>")
    if one.data_warnings:
        items = "".join(f"<li>{_html(text)}</li>" for text in one.data_warnings)
        parts.append(f"<h2>Warnings about the data</h2><ul>{items}</ul>")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    title = f"<title>{_html(_title(one))}</title>"
    return f'<!doctype html><html lang="en"><head>{head}{title}</head><body>{"".join(parts)}</body></html>'


def _title(one: Report) -> str:
    asked = one.input
    what = asked.model_id or asked.job_id or asked.dataset_id
    return f"Enhancement of {what}: {asked.task} of {asked.target}"


def _verdict(one: Report) -> str:
    if one.recommendation == Report.RECOMMENDATION_UNSPECIFIED:
        return one.error.message or f"Ended without a recommendation: {Report.State.Name(one.state).lower()}."
    return f"{Report.Recommendation.Name(one.recommendation)}: {one.reason}"


def _tables(one: Report) -> Iterator[Table]:
    if one.HasField("best"):
        rows = [[item.field, item.before or "default", item.after or "default"] for item in one.best.changes]
        by = f"What changes (found by {one.best.arm}, proposed by {one.best.source})"
        yield by, ("hyperparameter", "input", "best"), rows
    if one.HasField("evidence"):
        yield _measured(one.evidence)
    yield _arms(one)
    if one.consultations:
        yield _consultations(one)
    yield _cost(one)


def _measured(evidence: enhancement_pb2.Evidence) -> Table:
    found = evidence.comparison
    heading = f"Measured with {evidence.seed_count} seeds on {evidence.row_count} untouched test rows"
    rows = [
        ["validation", _number(evidence.input_validation), _number(evidence.best_validation)],
        *(
            [f"test {name}", _with_spread(found.baseline, name), _with_spread(found.candidate, name)]
            for name in sorted(found.candidate.metrics)
        ),
        [
            f"test {found.loss} lower by",
            "",
            f"{_number(found.improvement.mean)} "
            f"[{_number(found.improvement.low)}, {_number(found.improvement.high)}], "
            f"p = {found.improvement.p_value:.2g}",
        ],
        ["probability that it is better", "", f"{evidence.probability_better:.1%}"],
    ]
    return heading, ("", "input", "best"), rows


def _with_spread(side: registry_pb2.Comparison.Side, name: str) -> str:
    spread = f" ± {side.deviations[name]:.2g}" if name in side.deviations else ""
    return f"{_number(side.metrics[name])}{spread}"


def _arms(one: Report) -> Table:
    metric = one.input.metric
    columns = (
        "arm",
        "trials",
        "failed",
        f"best validation {metric}",
        f"its test {metric}",
        "seconds",
        "values",
        "note",
    )
    rows = [
        [
            arm.name,
            str(arm.trial_count),
            str(arm.failed_count),
            _number(arm.best_validation) if arm.trial_count else "",
            _number(arm.best_test) if arm.trial_count else "",
            f"{arm.seconds:.1f}",
            _values(arm.best_values) if arm.trial_count else "",
            arm.note or ("" if arm.ran else "did not run"),
        ]
        for arm in one.arms
    ]
    return f"Arms, {one.input.max_trials} trials each", columns, rows


def _consultations(one: Report) -> Table:
    columns = (
        "arm",
        "round",
        "who",
        "proposals",
        "tried",
        "best",
        "cost",
        "refused, or why there is nothing",
    )
    rows = [
        [
            item.arm,
            str(item.round),
            item.source,
            str(item.proposal_count),
            str(item.tried_count),
            _number(item.best_validation) if item.HasField("best_validation") else "",
            f"${item.nano_usd / 1e9:.6f}",
            "; ".join([*([item.problem] if item.problem else []), *item.rejections]),
        ]
        for item in one.consultations
    ]
    return "Who proposed what", columns, rows


def _cost(one: Report) -> Table:
    cost = one.cost
    columns = ("AI calls", "tokens read", "tokens written", "AI", "training", "seconds of training")
    row = [
        str(cost.call_count),
        str(cost.input_tokens),
        str(cost.output_tokens),
        f"${cost.ai_nano_usd / 1e9:.6f}",
        f"${cost.training_usd:.6f}" if cost.training_usd else "no price is set",
        f"{cost.training_seconds:.1f}",
    ]
    return "What it cost", columns, [row]


def _curves(one: Report) -> str:
    """Best so far on validation rows, by trial, as SVG."""
    drawn = [arm for arm in one.arms if len(arm.best_so_far) > 1]
    points = [value for arm in drawn for value in arm.best_so_far]
    if not points:
        return ""
    low, high = min(points), max(points)
    longest = max(len(arm.best_so_far) for arm in drawn) - 1
    span = (high - low) or 1.0

    def at(place: int, value: float) -> str:
        x = MARGIN + place / longest * (WIDTH - 2 * MARGIN)
        return f"{x:.1f},{MARGIN + (high - value) / span * (HEIGHT - 2 * MARGIN):.1f}"

    parts = []
    for number, arm in enumerate(drawn):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(at(place, value) for place, value in enumerate(arm.best_so_far))
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{line}"/>')
        x = MARGIN + number * 90
        parts.append(f'<text x="{x}" y="18" fill="{colour}" font-size="13">{_html(arm.name)}</text>')
    axis = f'<text x="{WIDTH // 2}" y="{HEIGHT - 8}" font-size="12" text-anchor="middle">trials</text>'
    for value, y in ((high, MARGIN), (low, HEIGHT - MARGIN)):
        axis += f'<text x="{MARGIN - 4}" y="{y + 4}" font-size="11" text-anchor="end">{value:.3g}</text>'
    label = f"Best {_html(one.input.metric)} so far on validation rows, by trial, for each arm"
    frame = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    return f"<figure>{frame}{axis}{''.join(parts)}</svg><figcaption>{label}</figcaption></figure>"


def _values(values: object) -> str:
    found = json_format.MessageToDict(values)  # type: ignore[arg-type]
    shown = (f"{name} = {_short(value)}" for name, value in found.items() if name != "seed")
    return ", ".join(shown) or "as it was"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: str) -> str:
    """Text of which nothing is Markdown: names of columns and what vendors say are in it."""
    return "".join(f"\\{sign}" if sign in "|\\`*_~<>[]#&" else sign for sign in _line(text))


def _html(text: str) -> str:
    """Text of which nothing is HTML."""
    return escape(_line(text))


def _line(text: str) -> str:
    """In one line, and without what is not seen but turns the direction in which others are read."""
    return "".join(sign for sign in " ".join(text.split()) if unicodedata.category(sign)[0] != "C")
