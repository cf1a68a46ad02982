"""The board's first tables as Markdown: claims, gates, the gap by layer and by firing frequency."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from benchmark import registry
from benchmark.stats.case import FEWEST_DRAWS
from benchmark.stats.frequency import EDGES
from benchmark.stats.ratio import INSENSITIVE
from leaderboard import markdown
from leaderboard.headline import Entry
from leaderboard.layers import Layers
from leaderboard.markdown import interval, text
from leaderboard.resolved import Curve

NOT_ASSESSED = "not assessed"
NO_CLAIM = "under three replicates of trained and every null have a score, or their differences have no spread"
CLAIMS = f"""\
`{registry.HEADLINE}` under the suite's judge. *Gap* is the worst null's, *at least* the one-sided 95 % bound of all
nulls at once; entries are ordered by it, those with a failed gate last. A failed gate voids the claim, not the row.
*Rank* is the interval that pairwise comparisons (Holm-adjusted) leave open; entries of one *group* are tied. *Holm p*
is the worst null's, adjusted over all entries here; beside it the exact sign-flip p, unadjusted. *Pairing* is the
correlation over replicates of trained and worst null. In case mode Holm's p is over Crawford and Howell's."""
GATES = """\
A gate that lacks its input is not assessed and voids nothing. Fidelity and floor are held against `topk_sae` with as
many latents; *lead* splits the difference to its gap into a better trained score and a worse null."""
LAYERS = """\
The gap at each hookpoint, with a 95 % band that holds for all of them at once (sign-flip max-T from six replicates on,
Bonferroni's t below). *Superiority* is the probability that a latent of trained scores above one of the null, within
replicate and hookpoint, with a t interval over replicates: .5 is no effect."""
FREQUENCY = """\
The gap per half decade of firing rate, and standardised with the pooled rates as common weights, so that a dictionary's
share of rare latents does not decide. A bin in which either side holds under 10 latents is left out (empty here), and
*left out* is the share of latents in such bins."""


def tables(entries: Sequence[Entry], layers: Sequence[Layers], curves: Sequence[Curve]) -> list[str]:
    """Parts of one suite and subject, best entry first."""
    parts = [f"### Headline: {registry.HEADLINE}", CLAIMS, markdown.table([_claim(entry) for entry in entries])]
    parts += ["#### Gates", GATES, markdown.table([_gates(entry) for entry in entries])]
    if layers:
        parts += ["#### Gap by layer", LAYERS, markdown.table([_layers(found) for found in layers])]
    if curves:
        parts += ["#### Gap by firing frequency", FREQUENCY, markdown.table(_frequencies(curves))]
    return parts


def sentence(entry: Entry) -> str:
    """The verdict in one line."""
    if entry.case is not None:
        worst, verdict = markdown.case(entry.case)
        return f"{entry.label}: {registry.HEADLINE}: worst-null gap {worst}: {verdict}{_failures(entry)}"
    if entry.draws is not None:
        why = f"under {FEWEST_DRAWS} draws of every null ({entry.draws} here)"
        return f"{entry.label}: {registry.HEADLINE}: no claim {why}"
    if entry.claim is None:
        return f"{entry.label}: {registry.HEADLINE}: no claim: {NO_CLAIM}"
    verdict = str(entry.claim.verdict) if entry.claim.verdict else "no verdict under five replicates"
    said = f"{entry.label}: {registry.HEADLINE}: worst-null gap {entry.claim.worst.mean:+.4f}"
    said += f" (at least {entry.claim.worst.lower:+.4f}, {entry.claim.worst.null}): {verdict}"
    return said + _failures(entry)


def _failures(entry: Entry) -> str:
    return "".join(f"; void, gate {gate.name}: {gate.why}" for gate in entry.gates if gate.passed is False)


def _claim(entry: Entry) -> dict[str, str]:
    said, rank = entry.claim, entry.rank
    line = {"method": entry.method, "settings": entry.label}
    line["gap"] = f"{said.worst.mean:+.4f}" if said else "n/a"
    line["at least"] = f"{said.worst.lower:+.4f}" if said else "n/a"
    line["worst null"] = said.worst.null if said else "n/a"
    verdict = str(said.verdict) if said and said.verdict else "n/a"
    if entry.case is not None:
        line["worst null"], verdict = markdown.case(entry.case)
        line["gap"] = f"{entry.case.gap:+.4f}"
    line["verdict"] = f"void ({verdict})" if entry.void else verdict
    line["rank"] = _rank(entry) if rank else "n/a"
    line["group"] = str(rank.group) if rank else "n/a"
    line["Holm p"] = f"{entry.p_holm:.2g}" if entry.p_holm is not None else "n/a"
    line["sign-flip p"] = f"{said.worst.p_sign_flip:.2g}" if said else "n/a"
    line |= {variant: text(score) for variant, score in entry.scores.items()}
    line["ratio"] = (
        interval(said.ratio.value, said.ratio.interval) if said and said.ratio else INSENSITIVE if said else "n/a"
    )
    line["pairing"] = f"{entry.pairing:+.2f}" if entry.pairing is not None else "n/a"
    most = max((score.replicates for score in entry.scores.values()), default=0)
    line["replicates"] = markdown.cases(entry.draws) if entry.draws is not None else str(most)
    line["s per cell"] = "n/a" if entry.seconds is None else f"{entry.seconds:.0f}"
    line["peak GiB"] = "n/a" if entry.peak_bytes is None else f"{entry.peak_bytes / 2**30:.1f}"
    return line


def _rank(entry: Entry) -> str:
    assert entry.rank is not None
    best, worst = entry.rank.best, entry.rank.worst
    return str(best) if best == worst else f"{best} to {worst}"


def _gates(entry: Entry) -> dict[str, str]:
    line = {"method": entry.method, "settings": entry.label}
    for gate in entry.gates:
        state = NOT_ASSESSED if gate.passed is None else "passed" if gate.passed else "**failed**"
        line[gate.name] = f"{state}: {gate.why}"
    lead = entry.decomposition
    flag = ", **null-suppressed**" if lead and lead.null_suppressed else ""
    line["lead"] = f"trained {lead.trained:+.4f}, null {lead.null:+.4f}{flag}" if lead else "is the reference"
    return line


def _layers(found: Layers) -> dict[str, str]:
    line = {"method": found.method, "settings": found.label, "null": found.null}
    for place, hookpoint in enumerate(found.hookpoints):
        mean = float(found.gaps[place])
        around = (float(found.band[0][place]), float(found.band[1][place])) if found.band else None
        line[hookpoint] = interval(mean, around) if around else f"{mean:+.4f}"
    effect = found.superiority
    line["superiority"] = f"{effect.mean:.3f} [{effect.interval[0]:.3f}, {effect.interval[1]:.3f}]" if effect else "n/a"
    return line


def _frequencies(curves: Sequence[Curve]) -> list[dict[str, str]]:
    lines = []
    for curve in curves:
        found = curve.standardised
        line = {"method": curve.method, "settings": curve.label, "null": curve.null}
        line["standardised gap"] = interval(found.mean, found.interval) if found else "n/a"
        line["left out"] = f"{curve.resolved.left_out:.1%}"
        for (low, high), value in zip(itertools.pairwise(EDGES), curve.resolved.gaps, strict=True):
            line[f"{low:.0e} to {high:.0e}"] = "" if np.isnan(value) else f"{value:+.3f}"
        lines.append(line)
    return lines
