"""The page of a method on a suite: its claims, gates, places, firing frequencies, and every metric."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark import keyed
from benchmark.metrics import family
from benchmark.stats.frequency import EDGES
from benchmark.stats.ratio import INSENSITIVE
from benchmark.store import write_text
from leaderboard import compare, layers, markdown, resolved, screen, standings
from leaderboard.contents import Heading
from leaderboard.floors import Standing
from leaderboard.headline import Entry
from leaderboard.layers import Layers
from leaderboard.markdown import interval
from leaderboard.resolved import Curve
from leaderboard.rows import ResultRow, RowInfo
from leaderboard.standings import BoardRow

VERSION = 3
"""Of what a page says of the same rows: raised with its layout, so that pages are made anew."""
NOT_ASSESSED = "not assessed"
READING = """\
Scores are means over places and method seeds, then mean ± standard deviation over replicates (training seeds). Gaps are
trained minus null, paired by replicate, positive when trained is better, with a 95 % t interval over replicates from
three on. *Worst* is the null that trained beats least, with the one-sided 95 % bound of all nulls at once; *verdict*,
from five replicates on, is the first that holds of reversed, equivalent to the null, beats the null, and inconclusive;
differences without any spread support none. The smallest difference that matters is .02, .04 for lifts, .05 for nats
and causal effect. *Ratio* is the worst null's gap over the control's, with Fieller's interval, where chance is what the
control scores. A subject with one training seed is held against many draws of each null (case mode): scores of nulls
are then over draws, *p* is Crawford and Howell's and *rank p* the Monte-Carlo one, the largest over nulls, and what
they say is conditional on that checkpoint. Metrics without a direction, and those that compare replicates, carry no
verdict. Single places are exploratory; ranks are claimed in the headline table alone. *n/a* is undefined; the reason
stands below its table."""
CLAIMS = """\
The headline under the suite's judge. Entries of one *group* are tied. Beside *Holm p* stands the exact sign-flip p,
unadjusted. *Pairing* is the correlation over replicates of trained and worst null. In case mode Holm's p is over
Crawford and Howell's."""
LEADS = """\
The worst-null gap minus that of each floor, with a 95 % t interval over shared replicates. A floor decides where it
is as faithful: *fidelity* is recovered variance on trained, the floor's and the entry's, and what reaches .9 of the
entry's matches. A floor is among those that it is held against itself."""
ELSEWHERE = """\
Trained elsewhere, on the trained network alone: it has no null, no gate is asked of it, and it claims nothing. Scores
on trained at the places that both rows have, and the difference over shared replicates with a 95 % t interval,
positive where what was trained elsewhere is better."""
GATES = """\
A gate that lacks its input is not assessed; where that is the entry's own doing, it voids the claim as a failure
does. Fidelity and floor are held against the row of `topk_sae` of nearest width. *Envelope*: a score on a null counts
as no less than what the reference and the matched floors make believable there. *Against the reference* splits the
difference to its gap into a better trained score and a worse null."""
LAYERS = """\
The gap at each place, with a 95 % band that holds for all of them at once (sign-flip max-T from six replicates on,
Bonferroni's t below). *Superiority* is the probability that a latent of trained scores above one of the null, within
replicate and place, with a t interval over replicates: .5 is no effect."""
FREQUENCY = """\
The gap per half decade of firing rate, and standardised with the pooled rates as common weights, so that a dictionary's
share of rare latents does not decide. A bin in which either side holds under 10 latents is left out (empty here), and
*left out* is the share of latents in such bins."""


def write(
    path: Path, rows: Sequence[ResultRow], entries: Sequence[Entry], heading: Heading, recipe: Sequence[ResultRow] = ()
) -> None:
    """Put the page of a method's rows of one suite into a file, unless that page is there. `recipe`: the rows that what
    was trained elsewhere is compared with.
    """
    made_from = _digest([*rows, *recipe], entries, heading)
    if path.is_file():
        mark, _, body = path.read_text(encoding="utf-8").partition("\n\n")
        if mark == _mark(made_from, body):
            return
    body = text(rows, entries, heading, recipe)
    write_text(path, f"{_mark(made_from, body)}\n\n{body}")


def text(
    rows: Sequence[ResultRow], entries: Sequence[Entry], heading: Heading, recipe: Sequence[ResultRow] = ()
) -> str:
    """The page; the same rows give the same bytes."""
    method = rows[0].info.method
    own = [entry for entry in entries if entry.method == method]
    parts = [f"# {method}", f"{heading.title}, subject {markdown.plain(rows[0].info.subject)}"]
    parts += [markdown.plain(heading.sentence)] if heading.sentence else []
    if own:
        parts += [f"### Headline: {own[0].headline}", CLAIMS, markdown.table([_claim(entry) for entry in own])]
        fitted = [entry for entry in own if not entry.pretrained]
        over = [line for entry in fitted for one in (entry.standing, *entry.beside) for line in _leads(entry, one)]
        parts += ["### Lead over floors", LEADS, markdown.table(over)] if over else []
        parts += ["### Gates", GATES, markdown.table([_gates(entry) for entry in fitted])] if fitted else []
    if any(row.pretrained for row in rows):
        beside = [lines for row in rows for other in recipe if (lines := _beside(row, other))]
        parts += ["### Trained elsewhere", ELSEWHERE, *map(markdown.table, beside)]
    parts += [_salted(row.info) for row in rows if row.info.salt]
    parts += [_verified(row) for row in rows if row.info.verification is not None]
    cases = {entry.name for entry in own if entry.draws is not None}
    paired = [row for row in rows if row.name not in cases]
    by_place = [one for row in paired for one in layers.layers(row)]
    if by_place:
        parts += ["### Gap by place", LAYERS, markdown.table([_layers(one) for one in by_place])]
    curves = [one for row in paired for one in resolved.curves(row)]
    if curves:
        parts += ["### Gap by firing frequency", FREQUENCY, markdown.table(_frequencies(curves))]
    return "\n\n".join([*parts, "## Metrics", READING, *markdown.metrics(_by_metric(rows))]) + "\n"


def _by_metric(rows: Sequence[ResultRow]) -> list[BoardRow]:
    """Lines of all rows, metric by metric."""
    lines = [line for row in rows for line in standings.rows(row)]
    order = {name: number for row in rows for number, name in enumerate(standings.in_order(row))}
    return sorted(lines, key=lambda line: order[line.metric])


def _mark(made_from: str, body: str) -> str:
    """The first line of a page: what it was made from and what it says, so that one that was changed is made anew."""
    return f"<!-- {made_from} {keyed.short('body', body)} -->"


def _digest(rows: Sequence[ResultRow], entries: Sequence[Entry], heading: Heading) -> str:
    """Content id of what a page is made from."""
    frames = [
        [int(pd.util.hash_pandas_object(frame).sum() % 2**63), *map(str, frame)]
        for row in rows
        for frame in (row.scores, row.cells.select_dtypes("number"), row.samples().select_dtypes("number"))
    ]
    own = [repr(entry) for entry in entries if entry.method == rows[0].info.method]
    read = [(one.name, repr(one.metrics)) for one in (*family.families(), *family.joins())]
    said = [row.info.model_dump(mode="json") for row in rows]
    return keyed.short("page", VERSION, frames, said, own, read, heading)


def _claim(entry: Entry) -> dict[str, str]:
    said = entry.claim
    line = {"settings": entry.label, **screen.verdict_of(entry), **screen.fidelity_of(entry)}
    line["group"] = str(entry.rank.group) if entry.rank else "n/a"
    line["sign-flip p"] = f"{said.worst.p_sign_flip:.2g}" if said else "n/a"
    line |= {variant: markdown.text(score) for variant, score in entry.scores.items()}
    line["ratio"] = (
        interval(said.ratio.value, said.ratio.interval) if said and said.ratio else INSENSITIVE if said else "n/a"
    )
    line["pairing"] = f"{entry.pairing:+.2f}" if entry.pairing is not None else "n/a"
    line |= screen.rests_on(entry)
    line["peak GiB"] = "n/a" if entry.peak_bytes is None else f"{entry.peak_bytes / 2**30:.1f}"
    return line


def _salted(info: RowInfo) -> str:
    blind = "; activations turned and scaled" if info.blind else "; activations as they are"
    return markdown.plain(f"Seeds and draws ({info.label}): keyed by the salt {info.salt}{blind}.")


def _verified(row: ResultRow) -> str:
    """Which cells were computed again, and the key that drew them."""
    said = row.info.verification
    assert said is not None
    cells = "; ".join(f"{cell} within {within}" for cell, within in said.cells.items())
    return markdown.plain(f"Verified ({row.info.label}): {len(said.cells)} cells, drawn by key {said.key}: {cells}.")


def _leads(entry: Entry, standing: Standing) -> list[dict[str, str]]:
    """A line per floor, the worst first."""
    ordered = sorted(standing.over, key=lambda one: (not one.matched, np.inf if one.mean is None else one.mean))
    return [
        {
            "settings": entry.label,
            "metric": standing.metric,
            "floor": one.floor,
            "fidelity": " and ".join("n/a" if value is None else f"{value:.3f}" for value in (one.fidelity, one.own)),
            "matches": "yes" if one.matched else "no",
            "lead": interval(one.mean, one.lead.interval)
            if one.mean is not None and one.lead
            else "n/a"
            if one.mean is None
            else f"{one.mean:+.4f}",
        }
        for one in ordered
    ]


def _gates(entry: Entry) -> dict[str, str]:
    line = {"settings": entry.label}
    for gate in entry.gates:
        state = NOT_ASSESSED if gate.passed is None else "passed" if gate.passed else "**failed**"
        void = ", **voids the claim**" if gate.passed is None and gate.own else ""
        line[gate.name] = f"{state}{void}: {gate.why}"
    raised = [said.replace("null-suppressed", "**null-suppressed**") for said in screen.suppressed(entry)]
    line["envelope"] = ", ".join(raised) or (
        "its null scores are believed" if entry.floor else "no null score below it"
    )
    apart = entry.decomposition
    flag = ", **null-suppressed**" if apart and apart.null_suppressed else ""
    line["against the reference"] = (
        f"trained {apart.trained:+.4f}, null {apart.null:+.4f}{flag}"
        if apart
        else "is the reference"
        if entry.reference
        else "no row of the reference to compare with"
    )
    return line


def _beside(row: ResultRow, recipe: ResultRow) -> list[dict[str, str]]:
    """A line per metric that what was trained elsewhere and a row of its recipe both have."""
    return [
        {
            "metric": one.metric,
            "trained elsewhere": f"{one.first:.4f}",
            " ".join(recipe.name): f"{one.second:.4f}",
            "difference": interval(one.difference.mean, one.difference.interval) if one.difference else "n/a",
            "replicates": str(one.replicates),
        }
        for one in compare.on_trained(row, recipe)
    ]


def _layers(found: Layers) -> dict[str, str]:
    line = {"settings": found.label, "null": found.null}
    for number, place in enumerate(found.places):
        mean = float(found.gaps[number])
        around = (float(found.band[0][number]), float(found.band[1][number])) if found.band else None
        line[place] = interval(mean, around) if around else f"{mean:+.4f}"
    effect = found.superiority
    line["superiority"] = f"{effect.mean:.3f} [{effect.interval[0]:.3f}, {effect.interval[1]:.3f}]" if effect else "n/a"
    return line


def _frequencies(curves: Sequence[Curve]) -> list[dict[str, str]]:
    lines = []
    for curve in curves:
        standardised = curve.standardised
        line = {"settings": curve.label, "null": curve.null}
        line["standardised gap"] = interval(standardised.mean, standardised.interval) if standardised else "n/a"
        line["left out"] = f"{curve.resolved.left_out:.1%}"
        for (low, high), value in zip(itertools.pairwise(EDGES), curve.resolved.gaps, strict=True):
            line[f"{low:.0e} to {high:.0e}"] = "" if np.isnan(value) else f"{value:+.3f}"
        lines.append(line)
    return lines
