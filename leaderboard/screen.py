"""The board's one screen per suite and track: headline, gates, cost, and the way to the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmark.metrics import family
from benchmark.stats.case import FEWEST_DRAWS
from leaderboard import markdown
from leaderboard.contents import Heading
from leaderboard.floors import Standing
from leaderboard.headline import Coverage, Entry
from leaderboard.rows import ResultRow

NO_NULL = "trained elsewhere, it has no null: no claim"
NO_CLAIM = "under three replicates of trained and every null have a score, or their differences have no spread"
INTRODUCTION = """\
Does a method score better on a trained network than on the same network with its training destroyed, and better than
a method that learns nothing? *Gap* is the worst null's, trained minus null, paired by replicate (training seed); *at
least* is the one-sided 95 % bound of all nulls at once. *Lead* is that gap minus a floor's, each to its own worst
null, over the worst of the floors that match (their recovered variance on trained is .9 of the entry's or more), with
the bound of all of them at once. A *claim* beats the null, leads the floor, and has no gate against it; claims come
first, then what passed its gates, by the bound. *Rank* is the interval that pairwise comparisons (Holm-adjusted)
leave open; *Holm p* is the worst null's, adjusted over all entries of a table; floors, set apart below the entries,
have neither, nor has what was trained elsewhere, on trained networks alone. Scores are means over places, then over
replicates; *recovered variance* and *context* are what a decoder of the harness's own predicts from the codes on
trained, of the activations and of what their token leaves unexplained. The name of a method leads to its page: every
metric, floor, gate, place and firing frequency, with intervals and reasons. *Results* are verified where a maintainer
computed a drawn sample of the cells again and all agreed, which and within what the page says, else self-reported."""
FLOORS, ELSEWHERE = "*floors*", "*trained elsewhere: no null*"


def text(
    rows: Sequence[ResultRow],
    entries: Sequence[Entry],
    headings: Mapping[str, Heading],
    page: Callable[[str, str], str | None],
    pictures: Mapping[str, Sequence[tuple[str, str]]] | None = None,
) -> str:
    """The whole screen; the same rows give the same bytes. `page` says where a method's page is, if it is; `pictures`
    are what the figures of a suite say, and where they are.
    """
    parts = ["# NullGap leaderboard", INTRODUCTION]
    if not rows:
        parts.append("No records yet.")
    tables = sorted({row.table for row in rows}, key=lambda table: (list(headings).index(table[0]), table[1]))
    tracks = {row.table: row.info.track for row in rows}
    for suite, subject in tables:
        heading, own = headings[suite], [one for one in entries if (one.suite, one.subject) == (suite, subject)]
        parts.append(f"{heading.title}, subject {markdown.plain(subject)}, track {tracks[suite, subject]}")
        parts += [markdown.plain(heading.sentence)] if heading.sentence else []
        if own:
            parts += [f"![{alt}]({path})" for alt, path in (pictures or {}).get(suite, ())]
            parts.append(_said(own[0].headline))
            parts.append(_linked([_line(one) for one in own], own, page))
            parts += _beside(own, page)
        silent = sorted({row.name for row in rows if row.table == (suite, subject)} - {one.name for one in own})
        if silent:
            names = ", ".join(sorted({_link(method, page(suite, method)) for method, _ in silent}))
            parts.append(f"Without the headline metric: {names}.")
    return "\n\n".join(parts) + "\n"


def sentence(entry: Entry) -> str:
    """Both verdicts of an entry in one line, and what stands against a claim."""
    which = f"{entry.method} ({entry.label}), {entry.headline}"
    if entry.pretrained:
        trained = entry.scores.get("trained")
        said = "no score" if trained is None else f"trained {markdown.text(trained)}"
        return f"{which}: {said}, {_covered(entry.pretrained)}; {NO_NULL}"
    if entry.case is not None:
        worst, verdict = markdown.case(entry.case)
        return f"{which}: worst-null gap {worst}: {verdict}; no lead in case mode{_against(entry)}"
    if entry.draws is not None:
        return f"{which}: no claim under {FEWEST_DRAWS} draws of every null ({entry.draws} here){_against(entry)}"
    if entry.claim is None:
        return f"{which}: no claim: {NO_CLAIM}{_against(entry)}"
    said = f"{which}: {_verdicts(entry.standing)}"
    if entry.floor:
        return f"{said}; a floor"
    return f"{said}; {'a claim' if entry.claimed else 'no claim'}{_against(entry)}"


def beside(entry: Entry) -> list[str]:
    """The same of what stands beside the headline, a line each."""
    which = f"{entry.method} ({entry.label})"
    return [f"{which}, {one.metric}: {_verdicts(one)}" for one in entry.beside if one.claim is not None]


def _verdicts(standing: Standing) -> str:
    assert standing.claim is not None
    worst = standing.claim.worst
    verdict = str(standing.claim.verdict) if standing.claim.verdict else "no verdict under five replicates"
    said = f"worst-null gap {worst.mean:+.4f} (at least {worst.lower:+.4f}, {worst.null}): {verdict}"
    lead = standing.lead
    if lead is None:
        return f"{said}; {standing.lead_verdict or 'lead unknown under three replicates'}"
    bound = "no spread" if lead.lower is None else f"at least {lead.lower:+.4f}"
    held = str(lead.verdict) if lead.verdict else "no verdict under five replicates"
    return f"{said}; lead {lead.mean:+.4f} ({bound}, over {lead.floor}): {held}"


def _against(entry: Entry) -> str:
    said = [
        f"; void, gate {gate.name}: {'not assessed, ' if gate.passed is None else ''}{gate.why}"
        for gate in entry.gates
        if gate.voids
    ]
    return "".join([*said, *(f"; {one}" for one in suppressed(entry))])


def suppressed(entry: Entry) -> list[str]:
    """By how much the envelope raised the entry's score on a null."""
    return [f"null-suppressed by {mean:.4f} on {null}" for null, mean in entry.standing.raised.items()]


def _said(headline: str) -> str:
    return f"Headline `{headline}`{_explained(headline)}."


def _explained(metric: str) -> str:
    known = family.metric(metric)
    return f": {known.says}, in {known.unit}" if known else ""


def _beside(entries: Sequence[Entry], page: Callable[[str, str], str | None]) -> list[str]:
    """A table for each metric that stands beside the headline, of what has a gap in it."""
    parts, gaps = [], [(entry, one) for entry in entries for one in entry.beside if not entry.pretrained]
    for metric in dict.fromkeys(one.metric for _, one in gaps):
        having = [(entry, one) for entry, one in gaps if one.metric == metric]
        lines = [{"method": entry.method, "settings": entry.label, **standing_of(one)} for entry, one in having]
        parts.append(f"Beside it `{metric}`{_explained(metric)}.")
        parts.append(_linked(lines, [entry for entry, _ in having], page))
    return parts


def _line(entry: Entry) -> dict[str, str]:
    trained = entry.scores.get("trained")
    line = {"method": entry.method, "settings": entry.label, **verdict_of(entry)}
    line["trained"] = "n/a" if trained is None or trained.mean is None else f"{trained.mean:.3f}"
    line |= fidelity_of(entry)
    return line | {"gates": gates_in_short(entry), **rests_on(entry)}


def verdict_of(entry: Entry) -> dict[str, str]:
    """Claim, gap, bound, worst null and verdict, lead, rank and adjusted p, as columns."""
    said = "floor" if entry.floor else "no null" if entry.pretrained else "yes" if entry.claimed else "no"
    line = {"claim": said, **standing_of(entry.standing)}
    line["verdict"] = f"void ({line['verdict']})" if entry.void and not entry.floor else line["verdict"]
    line["rank"] = ranked(entry) if entry.rank else "n/a"
    line["Holm p"] = f"{entry.p_holm:.2g}" if entry.p_holm is not None else "n/a"
    return line


def standing_of(standing: Standing) -> dict[str, str]:
    """Gap, bound, worst null and verdict; lead, bound, worst floor and verdict."""
    said, lead = standing.claim, standing.lead
    line = {
        "gap": f"{said.worst.mean:+.4f}" if said else "n/a",
        "at least": f"{said.worst.lower:+.4f}" if said else "n/a",
        "worst null": said.worst.null if said else "n/a",
        "verdict": str(said.verdict) if said and said.verdict else "n/a",
    }
    if standing.case is not None:
        line["worst null"], line["verdict"] = markdown.case(standing.case)
        line["gap"] = f"{standing.case.gap:+.4f}"
    line["lead"] = f"{lead.mean:+.4f}" if lead else "n/a"
    line["lead at least"] = f"{lead.lower:+.4f}" if lead and lead.lower is not None else "n/a"
    line["worst floor"] = f"{lead.floor} ({standing.matched} of {len(standing.over)} match)" if lead else "n/a"
    line["lead's verdict"] = str(standing.lead_verdict or "n/a")
    return line


def fidelity_of(entry: Entry) -> dict[str, str]:
    """How faithful the entry is to the network, as columns."""
    return {
        name.partition("@")[0].replace("_", " "): "n/a" if value is None else f"{value:.3f}"
        for name, value in entry.fidelity.items()
    }


def rests_on(entry: Entry) -> dict[str, str]:
    """Replicates and cost, and whether somebody else computed cells of it again, as columns."""
    most = max((score.replicates for score in entry.scores.values()), default=0)
    return {
        "replicates": markdown.cases(entry.draws) if entry.draws is not None else str(most),
        "s per cell": "n/a" if entry.seconds is None else f"{entry.seconds:.0f}",
        "results": entry.reported_by,
    }


def ranked(entry: Entry) -> str:
    """The rank as an interval."""
    assert entry.rank is not None
    best, worst = entry.rank.best, entry.rank.worst
    return str(best) if best == worst else f"{best} to {worst}"


def gates_in_short(entry: Entry) -> str:
    """How many gates passed, and which did not; of what has no null none is asked."""
    if entry.pretrained:
        return f"none is asked; {_covered(entry.pretrained)}"
    failed = [gate.name for gate in entry.gates if gate.passed is False]
    unknown = [gate.name for gate in entry.gates if gate.passed is None]
    parts = [f"{len(entry.gates) - len(failed) - len(unknown)} of {len(entry.gates)} passed"]
    parts += [f"failed: {', '.join(failed)}"] if failed else []
    parts += [f"not assessed: {', '.join(unknown)}"] if unknown else []
    return "; ".join([*parts, *suppressed(entry)])


def _covered(coverage: Coverage) -> str:
    return f"{coverage.cells} of {coverage.of} cells on trained"


def _link(method: str, page: str | None) -> str:
    return f"[{method}](pages/{page})" if page else method


def _linked(
    lines: Sequence[Mapping[str, str]], entries: Sequence[Entry], page: Callable[[str, str], str | None]
) -> str:
    """The table with the name of each method as a link, what was trained elsewhere and floors each behind a line of
    their own; names of methods have no character that Markdown reads.
    """
    head, ruler, *body = markdown.table(lines).split("\n")
    linked, before = list[str](), None
    for one, row in zip(entries, body, strict=True):
        _, _, rest = row.removeprefix("|").partition("|")
        kind = FLOORS if one.floor else ELSEWHERE if one.pretrained else None
        if kind and kind != before:
            linked.append(f"| {kind} |" + " |" * (len(lines[0]) - 1))
        before = kind
        linked.append(f"| {_link(one.method, page(one.suite, one.method))} |{rest}")
    return "\n".join([head, ruler, *linked])
