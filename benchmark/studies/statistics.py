"""Does the statistic keep its promises? `make validate-statistics` simulates them: coverage, errors, power.

Scores are drawn as the benchmark's are: latents nested in replicates, three nulls, a gap that is known. Nothing here
reads a record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from scipy import stats

from benchmark import keyed
from benchmark.stats import floors, null_gap
from benchmark.stats.floors import LeadVerdict
from benchmark.stats.null_gap import Verdict
from benchmark.stats.ratio import normalised
from benchmark.studies.mini.readme import replace_section

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
ICCS = (0.001, 0.005, 0.02)
REPLICATES = (3, 5, 8)
DELTA, LATENT_SD, ITEMS_SD = 0.02, 0.15, 0.05
SimulatedScores = NDArray[np.float64]


class Design(NamedTuple):
    """A study's size: replicates, latents in all of one variant and replicate, and the spread between replicates."""

    replicates: int
    latents: int
    between: float


def scores(rng: np.random.Generator, m: int, latents: int, icc: float) -> SimulatedScores:
    """Latent scores of one variant [replicate, latent], unit variance, share `icc` of it between replicates."""
    between, within = np.sqrt(icc), np.sqrt(1 - icc)
    return np.asarray(between * rng.standard_normal((m, 1)) + within * rng.standard_normal((m, latents)))


def coverage(runs: int, m: int) -> float:
    """Share of 95 % intervals that hold the gap; should be .93 to .97."""
    rng = keyed.rng("coverage", m)
    gaps = [null_gap.gap(0.02 + 0.01 * rng.standard_normal(m)) for _ in range(runs)]
    return float(np.mean([one is not None and one.interval[0] <= 0.02 <= one.interval[1] for one in gaps]))


def errors(runs: int, icc: float, m: int = 5, latents: int = 500) -> tuple[float, float]:
    """Type I error at nominal .05, one-sided, with no gap: of the t test over replicates, and over latents."""
    rng, ours, naive = keyed.rng("type one", icc), 0, 0
    for _ in range(runs):
        trained, null = scores(rng, m, latents, icc), scores(rng, m, latents, icc)
        gap = null_gap.gap(trained.mean(axis=1) - null.mean(axis=1))
        ours += gap is not None and gap.p < 0.05
        naive += bool(stats.ttest_ind(trained.ravel(), null.ravel(), alternative="greater").pvalue < 0.05)
    return ours / runs, naive / runs


def verdicts(runs: int, gaps: tuple[float, float, float], delta: float, m: int = 8) -> dict[Verdict, float]:
    """How often each verdict comes out where the nulls' true gaps are `gaps`, in standard deviations of D."""
    rng, counts = keyed.rng("verdicts", gaps, delta), dict.fromkeys(Verdict, 0)
    for _ in range(runs):
        d = {str(place): gap + rng.standard_normal(m) for place, gap in enumerate(gaps)}
        known = null_gap.gaps_of(d)
        said = null_gap.verdict(d, known, delta=delta) if known else None
        assert said is not None
        counts[said] += 1
    return {name: count / runs for name, count in counts.items()}


def leads(runs: int, truth: tuple[float, ...], delta: float, m: int = 8) -> dict[LeadVerdict, float]:
    """How often each verdict on the lead comes out where the true leads over floors are `truth`, in standard deviations
    of a gap. The method's own gap is in all of them, so that they depend on each other.
    """
    rng, counts = keyed.rng("leads", truth, delta), dict.fromkeys(LeadVerdict, 0)
    for _ in range(runs):
        own = rng.standard_normal(m)
        differences = {str(place): one + own - rng.standard_normal(m) for place, one in enumerate(truth)}
        found = floors.lead(differences, delta=delta)
        assert found is not None
        assert found.verdict is not None
        counts[found.verdict] += 1
    return {name: count / runs for name, count in counts.items()}


def power(runs: int, design: Design, gap: float = 0.02) -> float:
    """Share of one-sided tests that find a gap of .02 to one null, at the specification's spreads."""
    rng = keyed.rng("power", *design)
    within = np.sqrt((LATENT_SD**2 + ITEMS_SD**2) / design.latents)
    spread = np.sqrt(2 * (within**2 + design.between**2))
    gaps = [null_gap.gap(gap + spread * rng.standard_normal(design.replicates)) for _ in range(runs)]
    return float(np.mean([one is not None and one.p < 0.05 for one in gaps]))


def ratio_coverage(runs: int, m: int = 5) -> float:
    """Share of Fieller intervals that hold the ratio, where they are defined."""
    rng, inside, defined = keyed.rng("ratio"), 0, 0
    for _ in range(runs):
        v = 0.2 + 0.02 * rng.standard_normal(m)
        u = 0.12 + 0.02 * rng.standard_normal(m)
        ratio = normalised(u, v, floor=0.05)
        if ratio:
            defined += 1
            inside += ratio.interval[0] <= 0.6 <= ratio.interval[1]
    return inside / max(defined, 1)


def table(runs: int) -> str:
    """All simulations as Markdown."""
    lines = [("coverage of the 95 % interval", f"{m} replicates", coverage(runs, m), ".93 to .97") for m in REPLICATES]
    for icc in ICCS:
        ours, naive = errors(runs, icc)
        lines.append(("type I, t over replicates", f"ICC {icc}", ours, "at most .05"))
        lines.append(("type I, t over latents (not used)", f"ICC {icc}", naive, "shown for contrast"))
    beats, equivalent = Verdict.BEATS, Verdict.EQUIVALENT
    ahead, level = LeadVerdict.LEADS, LeadVerdict.LEVEL
    lines += [
        ("beats the null", "one gap 0, others far, delta 0", verdicts(runs, (0, 9, 9), 0.0)[beats], ".05"),
        ("beats the null", "all gaps 0, delta 0", verdicts(runs, (0, 0, 0), 0.0)[beats], "far below .05"),
        ("equivalent", "one gap at delta, others far", verdicts(runs, (2, 9, 9), 2.0)[equivalent], "at most .017"),
        ("reversed", "one gap 0, others far", verdicts(runs, (0, 9, 9), 0.0)[Verdict.REVERSED], "at most .017"),
        ("leads the floor", "one lead 0, seven far, delta 0", leads(runs, (0, *(9,) * 7), 0.0)[ahead], ".05"),
        ("leads the floor", "eight leads 0, delta 0", leads(runs, (0,) * 8, 0.0)[ahead], "below .05"),
        (
            "level with the floor",
            "one lead at delta, seven far",
            leads(runs, (4, *(20,) * 7), 4.0)[level],
            "at most .006",
        ),
        ("below the floor", "eight leads 0, delta 0", leads(runs, (0,) * 8, 0.0)[LeadVerdict.BELOW], "at most .05"),
        ("coverage of Fieller's interval", "5 replicates", ratio_coverage(runs), ".946"),
    ]
    said = {(5, 100): (".46", ".39"), (8, 100): (".68", ".59"), (5, 500): (".83", ".63"), (8, 500): (".97", ".86")}
    for (m, latents), expected in said.items():
        for between, value in zip((0.005, 0.010), expected, strict=True):
            case = f"{m} replicates, {latents} latents, sd between {between}"
            lines.append(("power, gap .02", case, power(runs, Design(m, latents, between)), value))
    frame = pd.DataFrame(lines, columns=["what", "case", "found", "specified"])
    return f"{runs:,} runs each:\n\n" + frame.to_markdown(index=False, floatfmt=".3f")


def main(
    runs: Annotated[int, typer.Option(min=100, help="Simulated studies per line.")] = 2000,
    write: Annotated[bool, typer.Option(help="Put the table into docs/statistics.md.")] = False,
) -> None:
    """Print what the statistic does where the truth is known."""
    made = table(runs)
    typer.echo(made)
    if write:
        replace_section("simulations", made, PAGE)


if __name__ == "__main__":
    typer.run(main)
