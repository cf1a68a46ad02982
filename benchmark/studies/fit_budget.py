"""How many tokens to fit on: `python -m benchmark.studies.fit_budget` runs a method at rising budgets.

The budget of a suite is where explained variance and the share of latents that can be explained and scored (eligible:
40 explainer and 50 scorer windows) stop rising, on trained and on a null alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console

from benchmark.reporting import Reporter, quiet_libraries, reporter
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec.method import load as load_method
from benchmark.spec.method import rows
from benchmark.spec.suite import Suite, load
from benchmark.store import Store
from benchmark.studies.mini.readme import replace_section

VARIANTS = ("trained", "rerandomized")
METRICS = ("explained_variance@1", "alive@1")


def at(suite: Suite, budget: int) -> Suite:
    """The suite on its first replicate and middle hookpoint, with this many fit tokens and the metrics of the curve."""
    seed = next(iter(suite.subject.replicates))
    subject = suite.subject.model_copy(update={"replicates": {seed: suite.subject.replicates[seed]}})
    changed = {
        "name": f"fit-{budget}",
        "subject": subject,
        "tokens": suite.tokens.model_copy(update={"fit": budget}),
        "hookpoints": suite.hookpoints[len(suite.hookpoints) // 2 :][:1],
        "variants": VARIANTS,
        "metrics": METRICS,
        "keep_gib": 0,
    }
    return Suite.model_validate(suite.model_dump() | changed)


def curve(suite: Suite, method: str, budgets: list[int], store: Store, report: Reporter) -> pd.DataFrame:
    """Explained variance and shares of alive and eligible latents: one line per budget, width and variant."""
    lines = []
    for budget in budgets:
        stage, loaded = at(suite, budget), load_method(method)
        pipeline.run(stage, [MethodRun(loaded, rows(loaded, stage, None))], store, "process", report)
        for record in store.records(stage.name, method):
            if record.status == "scored":
                lines.append(
                    {
                        "latents": int(record.counts["n_latents"]),
                        "variant": record.where.variant,
                        "fit tokens": budget,
                        "explained variance": record.metrics["explained_variance@1"].value,
                        "alive": record.metrics["alive@1"].value,
                        "eligible": record.counts["eligible"] / record.counts["n_latents"],
                    }
                )
    return pd.DataFrame(lines).groupby(["latents", "variant", "fit tokens"], as_index=False).mean()


def main(
    suite: Annotated[str, typer.Option(help="Suite whose widths and hookpoints are run.")] = "standard",
    method: str = "topk_sae",
    budgets: Annotated[list[int], typer.Option(help="Fit tokens; repeat the option.")] = [  # noqa: B006
        125_000,
        250_000,
        500_000,
        1_000_000,
        2_000_000,
    ],
    runs: Annotated[Path, typer.Option(help="Folder for records; a rerun goes on there.")] = Path("runs/fit-budget"),
    write: Annotated[bool, typer.Option(help="Put the table into the README of the subjects.")] = False,
) -> None:
    """Print explained variance and eligible share against the fit budget."""
    quiet_libraries()
    with reporter(Console()) as report:
        budgets_table = curve(load(suite), method, budgets, Store(runs), report)
    table = budgets_table.to_markdown(index=False, floatfmt=("d", "s", ",d", ".4f", ".3f", ".3f"))
    typer.echo(table)
    if write:
        replace_section("fit budget", table)


if __name__ == "__main__":
    typer.run(main)
