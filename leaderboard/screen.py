"""The board's one screen per suite and track: headline, gates, cost, and the way to the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmark.metrics import family
from benchmark.stats.case import FEWEST_DRAWS
from leaderboard import markdown
from leaderboard.contents import Heading
from leaderboard.headline import Entry
from leaderboard.rows import ResultRow

NO_CLAIM = "under three replicates of trained and every null have a score, or their differences have no spread"
INTRODUCTION = """\
Does a method score better on a trained network than on the same network with its training destroyed? *Gap* is the worst
null's, trained minus null, paired by replicate (training seed); *at least* is the one-sided 95 % bound of all nulls at
once, and what entries are ordered by, those with a failed gate last. *Rank* is the interval that pairwise comparisons
(Holm-adjusted) leave open. *Holm p* is the worst null's, adjusted over all entries of a table. Scores are means over
places, then over replicates. A failed gate voids the claim, not the row; a gate that lacks its input is not assessed.
The name of a method leads to its page: every metric, gate, place and firing frequency, with intervals and reasons."""


def text(
    rows: Sequence[ResultRow],
    entries: Sequence[Entry],
    headings: Mapping[str, Heading],
    page: Callable[[str, str], str | None],
) -> str:
    """The whole screen; the same rows give the same bytes. `page` says where a method's page is, if it is."""
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
            parts.append(_said(own[0].headline))
            parts.append(_linked(markdown.table([_line(one) for one in own]), own, page))
        silent = sorted({row.name for row in rows if row.table == (suite, subject)} - {one.name for one in own})
        if silent:
            names = ", ".join(sorted({_link(method, page(suite, method)) for method, _ in silent}))
            parts.append(f"Without the headline metric: {names}.")
    return "\n\n".join(parts) + "\n"


def sentence(entry: Entry) -> str:
    """The verdict of an entry in one line."""
    which = f"{entry.method} ({entry.label}), {entry.headline}"
    if entry.case is not None:
        worst, verdict = markdown.case(entry.case)
        return f"{which}: worst-null gap {worst}: {verdict}{_failures(entry)}"
    if entry.draws is not None:
        return f"{which}: no claim under {FEWEST_DRAWS} draws of every null ({entry.draws} here)"
    if entry.claim is None:
        return f"{which}: no claim: {NO_CLAIM}"
    verdict = str(entry.claim.verdict) if entry.claim.verdict else "no verdict under five replicates"
    worst_null = entry.claim.worst
    said = f"{which}: worst-null gap {worst_null.mean:+.4f} (at least {worst_null.lower:+.4f}, {worst_null.null})"
    return f"{said}: {verdict}{_failures(entry)}"


def _failures(entry: Entry) -> str:
    return "".join(f"; void, gate {gate.name}: {gate.why}" for gate in entry.gates if gate.passed is False)


def _said(headline: str) -> str:
    known = family.metric(headline)
    says = f": {known.says}, in {known.unit}" if known else ""
    return f"Headline `{headline}`{says}."


def _line(entry: Entry) -> dict[str, str]:
    line = {"method": entry.method, "settings": entry.label, **verdict_of(entry)}
    line |= {name: "n/a" if one.mean is None else f"{one.mean:.3f}" for name, one in entry.scores.items()}
    return line | {"gates": gates_in_short(entry), **rests_on(entry)}


def verdict_of(entry: Entry) -> dict[str, str]:
    """Gap, bound, worst null, verdict, rank and adjusted p, as columns."""
    said = entry.claim
    line = {
        "gap": f"{said.worst.mean:+.4f}" if said else "n/a",
        "at least": f"{said.worst.lower:+.4f}" if said else "n/a",
        "worst null": said.worst.null if said else "n/a",
    }
    verdict = str(said.verdict) if said and said.verdict else "n/a"
    if entry.case is not None:
        line["worst null"], verdict = markdown.case(entry.case)
        line["gap"] = f"{entry.case.gap:+.4f}"
    line["verdict"] = f"void ({verdict})" if entry.void else verdict
    line["rank"] = ranked(entry) if entry.rank else "n/a"
    line["Holm p"] = f"{entry.p_holm:.2g}" if entry.p_holm is not None else "n/a"
    return line


def rests_on(entry: Entry) -> dict[str, str]:
    """Replicates and cost, as columns."""
    most = max((score.replicates for score in entry.scores.values()), default=0)
    return {
        "replicates": markdown.cases(entry.draws) if entry.draws is not None else str(most),
        "s per cell": "n/a" if entry.seconds is None else f"{entry.seconds:.0f}",
    }


def ranked(entry: Entry) -> str:
    """The rank as an interval."""
    assert entry.rank is not None
    best, worst = entry.rank.best, entry.rank.worst
    return str(best) if best == worst else f"{best} to {worst}"


def gates_in_short(entry: Entry) -> str:
    """How many gates passed, and which did not."""
    failed = [gate.name for gate in entry.gates if gate.passed is False]
    unknown = [gate.name for gate in entry.gates if gate.passed is None]
    parts = [f"{len(entry.gates) - len(failed) - len(unknown)} of {len(entry.gates)} passed"]
    parts += [f"failed: {', '.join(failed)}"] if failed else []
    parts += [f"not assessed: {', '.join(unknown)}"] if unknown else []
    return "; ".join(parts)


def _link(method: str, page: str | None) -> str:
    return f"[{method}](pages/{page})" if page else method


def _linked(table: str, entries: Sequence[Entry], page: Callable[[str, str], str | None]) -> str:
    """The table with the name of each method as a link; names of methods have no character that Markdown reads."""
    head, line, *body = table.split("\n")
    linked = []
    for one, row in zip(entries, body, strict=True):
        _, _, rest = row.removeprefix("|").partition("|")
        linked.append(f"| {_link(one.method, page(one.suite, one.method))} |{rest}")
    return "\n".join([head, line, *linked])
