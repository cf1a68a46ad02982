"""Figures show what the tables say, the same bytes each time, and are told apart without colour."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import leaderboard
from leaderboard import board, contents, headline, resolved, results
from leaderboard.figures import latent, method, overview, style, suites
from leaderboard.headline import Entry
from leaderboard.rows import ENTROPY, ResultRow

HEADLINE, PLAIN = "fuzzing-token-matched@1", "fuzzing@1"
NULLS = ["step0", "rerandomized", "rerandomized-keep-embeddings"]


@cache
def published(suite: str) -> tuple[list[ResultRow], list[Entry]]:
    """Of the features track."""
    rows = [row for row in results.rows(board.RESULTS, (suite,)) if row.info.track == "features"]
    return rows, headline.entries(rows, board.known_floors())


def rows_of(suite: str, name: str) -> list[ResultRow]:
    return [row for row in published(suite)[0] if row.info.method == name]


def row_of(suite: str, name: str) -> ResultRow:
    return rows_of(suite, name)[0]


def values(figure: style.Figure) -> list[list[dict[str, Any]]]:
    """All data of a figure, in order, each table once."""
    found: list[list[dict[str, Any]]] = []

    def look(part: Any) -> None:
        if isinstance(part, dict):
            if "values" in part and isinstance(part["values"], list) and part["values"] not in found:
                found.append(part["values"])
            for inner in part.values():
                look(inner)
        elif isinstance(part, list):
            for inner in part:
                look(inner)

    said = figure.to_dict()
    look({name: part for name, part in said.items() if name != "datasets"})
    return [table for table in (*found, *said.get("datasets", {}).values()) if table and isinstance(table[0], dict)]


def table(figure: style.Figure, field: str) -> pd.DataFrame:
    """The largest table of a figure that has this field."""
    return max((pd.DataFrame(one) for one in values(figure) if field in one[0]), key=len)


def lines(shown: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in line.items()} for line in shown.to_dict("records")]


def test_gaps_are_those_of_the_claims() -> None:
    _, entries = published("mini")
    shown = table(overview.forest(entries), "gap")
    claims = leaderboard.load("mini").claims
    claims = claims[claims.metric == HEADLINE].set_index("method")
    assert list(shown.gap) == sorted(shown.gap, reverse=True)
    assert set(shown.name) == set(claims.index)
    known = {one["method"]: one for one in lines(claims.reset_index())}
    for line in lines(shown):
        said = known[line["name"]]
        assert (line["gap"], line["lower"]) == pytest.approx((said["gap"], said["at_least"]), rel=1e-5)
        assert line["null"] == said["worst_null"]
        assert line["kind"] == ("floor" if said["floor"] else "reference" if said["reference"] else "method")
        assert line["verdict"].startswith("void (") == (bool(said["gates_against"]) and not said["floor"])


def test_points_are_means_on_trained_and_on_the_null_that_trained_beats_least() -> None:
    rows, entries = published("mini")
    scores = leaderboard.load("mini").scores
    for metric in (PLAIN, HEADLINE):
        shown = table(overview.against_null(rows, entries, [metric]), "trained").set_index("name")
        means = scores[scores.metric == metric].pivot_table(index="method", columns="variant", values="value")
        assert set(shown.index) == set(means.index)
        for name, line in shown.iterrows():
            worst = means.loc[str(name), NULLS].max()
            assert (line["trained"], line["null"]) == pytest.approx((means.loc[str(name), "trained"], worst), rel=1e-5)
    assert (
        len(
            {one["number"] for one in table(overview.against_null(rows, entries, [PLAIN]), "number").to_dict("records")}
        )
        == 18
    )


def test_lines_by_place_and_by_width_have_a_band_that_holds_their_means() -> None:
    rows = rows_of("standard", "topk_sae")
    by_place = table(method.by_place(rows[0], PLAIN), "place")
    scores = rows[0].scores[PLAIN]
    for line in lines(by_place):
        here = scores.xs((line["variant"], line["place"]), level=("variant", "place")).to_numpy(float)
        assert line["value"] == pytest.approx(here.mean(), rel=1e-5)
        assert line["low"] < line["value"] < line["high"]
    assert len(by_place) == 15
    by_width = table(method.by_width(rows, PLAIN), "width")
    assert set(by_width.width) == {512, 2048}
    assert len(by_width) == 10
    assert (by_width.low < by_width.high).all()


def test_rows_of_equal_width_make_no_figure_of_widths() -> None:
    rows = rows_of("standard", "topk_sae")
    assert method.differ_in_width(rows)
    assert not method.differ_in_width([rows[0], rows[0]])
    others = [
        row._replace(info=row.info.model_copy(update={"settings": row.info.settings | {"k": k}}))
        for row, k in zip(rows, (8, 16), strict=True)
    ]
    assert not method.differ_in_width(others)


def test_a_variant_without_a_value_at_one_place_is_shown_at_the_others() -> None:
    row = rows_of("standard", "topk_sae")[0]
    index = row.scores.index
    gone = (index.get_level_values("variant") == "step0") & (index.get_level_values("place") == "layers.2")
    shown = table(method.by_place(row._replace(scores=row.scores[~gone]), PLAIN), "place")
    step0 = shown[shown.variant == "step0"]
    assert sorted(step0.place) == ["layers.1", "layers.3"]
    assert "low" not in step0 or step0.low.isna().all()


def test_without_replicates_there_is_a_line_and_no_band() -> None:
    row = row_of("mini", "topk_sae")
    one = row._replace(scores=row.scores[row.scores.index.get_level_values("replicate") == 0])
    shown = table(method.by_place(one, PLAIN), "place")
    assert "low" not in shown or shown["low"].isna().all()
    assert shown["value"].notna().all()


def test_latents_add_up_to_all_of_them() -> None:
    row = row_of("mini", "topk_sae")
    shown = table(latent.by_latent(row), "share")
    asked = resolved.asked(row)
    for variant, part in shown.groupby("variant"):
        scores = asked.loc[asked.variant == variant, "score"].to_numpy(float)
        assert part["share"].max() == 1
        assert part["score"].max() == pytest.approx(scores.max(), rel=1e-5)
        at = part[part["share"] == 0.5]["score"].iloc[0]
        assert np.mean(scores <= at) >= 0.5
    gaps = table(latent.by_frequency(row), "rate")
    assert set(gaps.variant) == set(NULLS)


def test_what_is_published_is_drawn_from_what_is_published() -> None:
    every = results.rows(board.RESULTS)
    for suite, heading in contents.headings(every, board.shipped).items():
        own = [row for row in every if row.suite == suite]
        pictures = suites.pictures(own, headline.entries(own, board.known_floors()))
        assert pictures
        for picture in pictures:
            path = board.HOME / board.PAGES / heading.folder / picture.file
            assert path.read_text(encoding="utf-8") == picture.svg, f"{path}: run make leaderboard"


def test_a_curve_of_doses_goes_from_trained_to_all_blocks() -> None:
    row = row_of("mini", "topk_sae")
    renamed = {NULLS[0]: "cascade:1", NULLS[1]: "cascade:2", NULLS[2]: "cascade:4"}
    assert not method.has_doses(row)
    scores = row.scores.rename(index=renamed, level="variant")
    dosed = row._replace(scores=scores)
    assert method.has_doses(dosed)
    figure = method.by_dose(dosed, PLAIN)
    drawn = style.svg(figure)
    assert drawn.count('aria-roledescription="area mark"') == drawn.count('aria-roledescription="line mark"') == 1
    shown = table(figure, "dose").drop_duplicates("dose").set_index("dose")
    assert sorted(shown.index) == [0, 1, 2, 4]
    for dose, variant in ((0, "trained"), (1, NULLS[0]), (2, NULLS[1]), (4, NULLS[2])):
        expected = row.scores.xs(variant, level="variant")[PLAIN].groupby("replicate").mean().mean()
        assert shown.loc[dose, "value"] == pytest.approx(expected, rel=1e-5)
    assert (shown["low"] < shown["value"]).all()


def test_roc_curves_are_means_over_replicates_at_equal_false_positive_rates() -> None:
    points = np.linspace(0, 1, 11)
    parts = [
        pd.DataFrame(
            {"scorer": scorer, "false_positive_rate": points, "true_positive_rate": points**power, "variant": variant}
        ).assign(place="layers.1", replicate=replicate, method_seed=0)
        for scorer, variant, replicate, power in [
            (PLAIN, "trained", 0, 0.5), (PLAIN, "trained", 1, 0.25), (PLAIN, "step0", 0, 1.0), ("other", "step0", 0, 9),
        ]
    ]  # fmt: skip
    shown = table(method.roc(pd.concat(parts, ignore_index=True), PLAIN), "variant")
    trained = shown[shown.variant == "trained"].sort_values("x")
    assert trained["y"].to_numpy() == pytest.approx((points**0.5 + points**0.25) / 2, rel=1e-5)
    assert (shown[shown.variant == "step0"]["x"] == shown[shown.variant == "step0"]["y"]).all()


def test_entropy_against_score_is_of_bins_that_hold_enough() -> None:
    row = row_of("mini", "topk_sae")
    every = row.samples()
    entropy = np.where(np.arange(len(every)) % 2, 0.2, 1.3)
    entropy[every.index[every["variant"] == "step0"][:5]] = 7.0
    told = row._replace(samples=lambda: every.assign(**{ENTROPY: entropy}))
    assert latent.has_entropy(told)
    figure = latent.by_entropy(told)
    assert style.svg(figure).count('aria-roledescription="area mark"') == 5
    shown = table(figure, "entropy").drop_duplicates(["variant", "entropy"])
    assert set(shown["entropy"]) == {0.25, 1.25}, "five latents are no bin"
    asked = resolved.asked(told)
    low = asked[(asked["variant"] == "trained") & (asked[ENTROPY] == 0.2)][HEADLINE].dropna()
    point = shown[(shown["variant"] == "trained") & (shown["entropy"] == 0.25)].iloc[0]
    assert point["value"] == pytest.approx(low.mean(), rel=1e-5)
    assert (point["low"], point["high"]) == pytest.approx((low.quantile(0.25), low.quantile(0.75)), rel=1e-5)


def test_in_case_mode_a_null_is_shown_from_its_least_to_its_greatest_draw() -> None:
    row = row_of("mini", "topk_sae")
    one = row.scores[row.scores.index.get_level_values("replicate") == 0]
    draws = []
    for draw in range(3):
        moved = one.rename(index={name: f"{name}:{draw}" for name in NULLS}, level="variant")
        nulls = moved.index.get_level_values("variant").str.contains(":")
        draws.append(moved[nulls].assign(**{PLAIN: 0.5 + 0.1 * draw}))
    kept = one[~one.index.get_level_values("variant").isin(NULLS)]
    shown = table(method.by_place(row._replace(scores=pd.concat([kept, *draws])), PLAIN), "place")
    step0 = shown[shown.variant == "step0"].iloc[0]
    assert (step0["low"], step0["value"], step0["high"]) == pytest.approx((0.5, 0.6, 0.7))
    assert set(shown.variant) == {"trained", "noise-embeddings", *NULLS}
    assert shown[shown.variant == "trained"]["low"].isna().all()


def test_checkpoints_of_one_suite_are_shown_along_training() -> None:
    row = row_of("mini", "topk_sae")

    def at(step: int, moved: float, **content: Any) -> ResultRow:
        subject = row.info.content["subject"] | {"revision": f"step{step}"} | content
        info = row.info.model_copy(
            update={"revision": f"step{step}", "content": row.info.content | {"subject": subject}, "suite": f"at{step}"}
        )
        return row._replace(info=info, scores=row.scores.assign(**{PLAIN: row.scores[PLAIN] + moved}))

    rows = [at(400, -0.1), at(2500, 0.0), at(100, -0.2)]
    others = [at(1000, 0.0, name="another"), row_of("mini", "kmeans")]
    assert method.along_training(row, [row]) == []
    found = method.along_training(rows[0], [*rows, *others])
    assert [one.info.revision for one in found] == ["step100", "step400", "step2500"]
    shown = table(method.by_checkpoint(found, PLAIN), "step")
    trained = shown[shown.variant == "trained"].drop_duplicates("step").set_index("step")["value"]
    mean = row.scores.xs("trained", level="variant")[PLAIN].mean()
    assert [trained[step] - mean for step in (100, 400, 2500)] == pytest.approx([-0.2, -0.1, 0.0], abs=1e-5)
