"""The site as its readers have it: from disk, with and without JavaScript, whatever a name holds."""

from __future__ import annotations

import csv
import filecmp
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from benchmark.errors import BadInput
from benchmark.stats.multiplicity import Rank
from leaderboard import board, headline, results
from leaderboard.rows import PLACE, ResultRow
from leaderboard.site import build, folder, method
from leaderboard.site.columns import COLUMNS, cells, ties

METHODS = ("topk_sae", "saelens_jumprelu", "kmeans", "random_directions")
NOWHERE = Path("nowhere")
HOSTILE = "<script>alert(1)</script>"
SPOKEN = "topk_sae"
"""Of this method the words and contexts are at hand."""
LATENTS = f"{SPOKEN}.0.layers.2.latents.html"
VARIANTS = ("trained", "step0", "rerandomized", "rerandomized-keep-embeddings", "noise-embeddings")
TOKENS = (" river", HOSTILE, "\n", "__proto__", "</script>")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
MAKE = (
    "import sys; from pathlib import Path; from leaderboard.site import build; from tests.leaderboard import test_site;"
    "build.build(Path(sys.argv[1]), test_site.told(Path(sys.argv[2])), Path(sys.argv[2]))"
)


def chosen() -> list[ResultRow]:
    return [row for row in results.rows(board.RESULTS, ("mini",)) if row.info.method in METHODS]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Details of one method: what its latents are said to be, and a context of each, the last token the strongest."""
    (row,) = (row for row in chosen() if row.info.method == SPOKEN)
    root = tmp_path_factory.mktemp("runs")
    (root / "details").mkdir()
    spoken = row.samples()
    spoken = spoken[spoken["replicate"] == 0]
    drawn = spoken.sample(frac=1, random_state=0)
    words = drawn[[*PLACE, "latent"]].assign(explanation=[f"the word {latent} <<b>>" for latent in drawn["latent"]])
    contexts = drawn[[*PLACE, "latent"]].assign(rank=0, block=0, start=0, activation=2.0)
    contexts["tokens"] = [
        [*TOKENS, f"{variant} {latent}"] for variant, latent in drawn[["variant", "latent"]].to_numpy()
    ]
    contexts["activations"] = [[0.0, 1.0, 0.0, 0.25, 2.0, 0.0]] * len(contexts)
    both = pd.concat([words.assign(table="explanations"), contexts.assign(table="contexts")], ignore_index=True)
    data = both.to_parquet()
    sha256 = hashlib.sha256(data).hexdigest()
    (root / "details" / f"{sha256}.parquet").write_bytes(data)
    (root / "sha256").write_text(sha256)
    return root


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, runs: Path) -> Path:
    return build.build(tmp_path_factory.mktemp("site") / "site", told(runs), runs).parent


def told(runs: Path) -> list[ResultRow]:
    """The chosen rows, one of them with details that are at hand."""
    own = {"sha256": (runs / "sha256").read_text()}
    return [
        row._replace(info=row.info.model_copy(update={"details": own})) if row.info.method == SPOKEN else row
        for row in chosen()
    ]


class Links(HTMLParser):
    """What a page points at, and images without words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.silent: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags.append(tag)
        self.found += [value for name in ("href", "src") if (value := said.get(name))]
        if tag == "img" and not said.get("alt"):
            self.silent.append(str(said.get("src")))


def test_every_link_leads_to_a_file_and_every_figure_has_words(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == 2 + 2 * len(METHODS)
    for page in pages:
        links = Links(page.read_text(encoding="utf-8"))
        assert links.silent == []
        for link in links.found:
            target = link.partition("#")[0]
            assert not re.match(r"[a-z]+:|//", link), f"{page.name} asks for {link}"
            assert not target or (page.parent / target).is_file(), f"{page.name}: {link}"


def test_the_board_reads_without_javascript(site: Path) -> None:
    text = (site / "mini" / "index.html").read_text(encoding="utf-8")
    for column in COLUMNS:
        assert column.says in text.replace("&#39;", "'")
    assert "+0.0742" in text
    assert text.count("<svg ") == text.count('<svg role="img" aria-label="') == 2
    method = (site / "mini" / "methods" / "topk_sae.html").read_text(encoding="utf-8")
    assert "fidelity parity" in method
    assert "recovered_variance@1" in method


def test_latents_read_without_javascript_and_say_where_their_words_are(site: Path) -> None:
    spoken = (site / "mini" / "methods" / LATENTS).read_text(encoding="utf-8")
    assert "the word 4 &lt;&lt;b&gt;&gt;" in spoken
    assert "put it into" not in spoken.lower()
    (row,) = (row for row in chosen() if row.info.method == SPOKEN)
    every = row.samples()
    means = every[every["replicate"] == 0].groupby("variant")["fuzzing-token-matched@1"].mean()
    foot = re.findall(r">([^<]*)</td>", spoken.partition("<tfoot>")[2].partition("</tfoot>")[0])
    assert [text for text in foot if text] == [f"{means[name]:.2f}" for name in VARIANTS]
    silent = (site / "mini" / "methods" / LATENTS.replace(SPOKEN, "kmeans")).read_text(encoding="utf-8")
    assert "Put it into details/" in silent
    (row,) = (row for row in chosen() if row.info.method == "kmeans")
    assert row.info.details["sha256"] in silent


def test_the_same_rows_give_the_same_bytes(site: Path, runs: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "11"}
    command = [sys.executable, "-c", MAKE, str(tmp_path / "again"), str(runs)]
    subprocess.run(command, env=environment, check=True)
    names = [str(path.relative_to(site)) for path in sorted(site.rglob("*")) if path.is_file()]
    again = [
        str(path.relative_to(tmp_path / "again")) for path in sorted((tmp_path / "again").rglob("*")) if path.is_file()
    ]
    assert names == again
    _, different, unread = filecmp.cmpfiles(site, tmp_path / "again", names, shallow=False)
    assert (different, unread) == ([], [])


def test_markup_is_text_wherever_it_stands(tmp_path: Path) -> None:
    (row,) = (row for row in chosen() if row.info.method == "kmeans")
    settings = row.info.settings | {"note": HOSTILE}
    info = row.info.model_copy(update={"method": HOSTILE, "label": HOSTILE, "settings": settings})
    root = build.build(tmp_path / "site", [row._replace(info=info), row], NOWHERE).parent
    for page in root.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert HOSTILE not in text
        own = {"index.html": 1}.get(page.name, 3 if ".latents" in page.name else 0) if page.parent != root else 0
        assert Links(text).tags.count("script") == 2 + own
    assert "&lt;script&gt;" in (root / "mini" / "index.html").read_text(encoding="utf-8")


def test_details_that_are_not_what_their_name_says_are_left_out(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "details").mkdir()
    name = f"{(runs / 'sha256').read_text()}.parquet"
    (tmp_path / "details" / name).write_bytes(b"version https://git-lfs.github.com/spec/v1")
    root = build.build(tmp_path / "site", [row for row in told(runs) if row.info.method == SPOKEN], tmp_path).parent
    assert "are not at hand" in (root / "mini" / "methods" / LATENTS).read_text(encoding="utf-8")
    assert "its content is not that of its name" in caplog.text


def test_a_killed_site_is_cleared_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(method, "_metrics", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build.build(tmp_path / "site", chosen()[:1], NOWHERE)
    assert (tmp_path / "site" / "mini" / "index.html").is_file()
    build.build(tmp_path / "site", [], NOWHERE)
    assert not (tmp_path / "site" / "mini").exists()


def interrupted(rows: object) -> list[object]:
    raise KeyboardInterrupt


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="holds other things than a site"):
        build.build(tmp_path, [], NOWHERE)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert "No results yet" in build.build(tmp_path / "site", [], NOWHERE).read_text(encoding="utf-8")
    (tmp_path / "site" / "notes.txt").write_text("mine, too")
    build.build(tmp_path / "site", chosen()[:1], NOWHERE)
    build.build(tmp_path / "site", [], NOWHERE)
    kept = sorted(path.name for path in (tmp_path / "site").rglob("*") if path.is_file())
    assert not (tmp_path / "site" / "mini").exists()
    assert kept == [folder.MARKER, "figures.js", "index.html", "latents.js", "notes.txt", "site.css", "site.js"]
    (tmp_path / "link").symlink_to(tmp_path / "site")
    with pytest.raises(BadInput, match="is a link"):
        build.build(tmp_path / "link", [], NOWHERE)


def test_after_a_bench_own_methods_have_pages_and_stand_beside_the_others(tmp_path: Path) -> None:
    rows = chosen()
    named = {(row.suite, row.info.method) for row in rows if row.info.method == "kmeans"}
    root = build.build(tmp_path / "site", rows, NOWHERE, named).parent
    text = (root / "mini" / "index.html").read_text(encoding="utf-8")
    pages = [link for link in Links(text).found if link.startswith("methods/")]
    assert pages == ["methods/kmeans.html"]
    assert all(method in text for method in METHODS)
    assert "make site" in text
    assert {path.name for path in (root / "mini" / "methods").glob("*.html")} >= {"kmeans.html"}
    assert not (root / "mini" / "methods" / "topk_sae.html").exists()


def test_tied_rows_share_a_letter() -> None:
    (row,) = (row for row in chosen() if row.info.method == "kmeans")
    (entry,) = headline.entries([row], board.known_floors())
    groups = [Rank(1, 1, 1), Rank(2, 4, 2), None, Rank(2, 4, 2), Rank(5, 6, 3), Rank(5, 6, 3)]
    assert ties([entry._replace(rank=rank) for rank in groups]) == ["", "A", "", "A", "B", "B"]
    assert cells(entry._replace(rank=groups[1]), "kmeans", "A", of_decoder=False)["rank"].text == "2 to 4 A"


def test_a_method_may_be_called_index(tmp_path: Path) -> None:
    (row,) = (row for row in chosen() if row.info.method == "kmeans")
    renamed = row._replace(info=row.info.model_copy(update={"method": "index"}))
    root = build.build(tmp_path / "site", [renamed], NOWHERE).parent
    assert 'id="board"' in (root / "mini" / "index.html").read_text(encoding="utf-8")
    assert "<h1>index</h1>" in (root / "mini" / "methods" / "index.html").read_text(encoding="utf-8")


def in_case_mode(row: ResultRow) -> ResultRow:
    """Of its first replicate, nulls as draws."""
    content = row.info.content | {"subject": row.info.content["subject"] | {"null_draws": 2}}
    one = row.scores[row.scores.index.get_level_values("replicate") == 0].reset_index()
    nulls = one[~one["variant"].isin(["trained", "noise-embeddings"])]
    drawn = [nulls.assign(variant=nulls["variant"] + f":{draw}") for draw in range(2)]
    scores = pd.concat([one[one["variant"].isin(["trained", "noise-embeddings", "step0"])], *drawn]).set_index(PLACE)
    cells = row.cells.reindex(scores.index)
    every = row.samples()
    every = every[every["replicate"] == 0]
    names = {name: f"{name}:0" for name in ("rerandomized", "rerandomized-keep-embeddings")}
    every = every[every["variant"] != "step0"].replace({"variant": names})
    info = row.info.model_copy(update={"content": content})
    return row._replace(info=info, scores=scores, cells=cells, samples=lambda: every)


def test_a_subject_with_one_training_seed_has_a_page(tmp_path: Path) -> None:
    (row,) = (row for row in chosen() if row.info.method == "topk_sae")
    root = build.build(tmp_path / "site", [in_case_mode(row)], NOWHERE).parent
    (page,) = (path for path in root.rglob("topk_sae*.html") if ".latents" not in path.name)
    text = page.read_text(encoding="utf-8")
    assert "recovered_variance@1" in text
    assert text.count("<svg ") == 3
    (latents_page,) = root.rglob("topk_sae*.latents.html")
    shown = latents_page.read_text(encoding="utf-8")
    assert ">rerandomized:0</button>" in shown
    script = latents_page.with_suffix(".js").read_text(encoding="utf-8")
    sides = json.loads(script.partition(" = ")[2].rstrip(";\n"))["sides"]
    assert sum(side is not None for _, side, *_ in sides) > 90


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, site: Path) -> Iterator[Page]:
    """A page that may say nothing in the console and ask nobody for anything."""
    made = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    made.on("console", lambda message: complaints.append(message.text))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("request", lambda request: complaints.append(request.url) if not request.url.startswith("file:") else None)
    made.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    made.goto((site / "index.html").as_uri())
    yield made
    made.close()
    assert complaints == []


def methods_shown(page: Page) -> list[str]:
    return [str(text) for text in page.locator("#board tbody th").all_inner_texts()]


def numbers(page: Page, column: str) -> list[float]:
    place = [one.key for one in COLUMNS].index(column) + 1
    return [float(text) for text in page.locator(f"#board tbody tr > :nth-child({place})").all_inner_texts()]


def test_from_the_landing_page_to_a_method(page: Page) -> None:
    assert "trained network" in page.locator("h1").inner_text()
    assert page.locator("figure svg").count() == 1
    page.get_by_role("link", name="mini").click()
    page.get_by_role("link", name="saelens_jumprelu").click()
    assert page.locator("h1").inner_text() == "saelens_jumprelu"
    assert page.locator("tr", has_text="fidelity parity").locator("td").first.inner_text() == "no"
    assert page.locator("figure svg").count() >= 4


def test_a_figure_says_what_is_under_the_pointer(page: Page, site: Path) -> None:
    page.goto((site / "mini" / "index.html").as_uri())
    point = page.locator("figure svg [aria-roledescription=point][aria-label*='name: kmeans']").first
    point.hover()
    assert "gap: 0.0978" in page.locator(".tip").inner_text()
    assert page.locator("figure svg .dim").count() > 0
    assert page.locator("figure svg .dim[aria-label*='name: kmeans']").count() == 0
    page.locator("h1").hover()
    assert not page.locator(".tip").is_visible()
    assert page.locator("figure svg .dim").count() == 0


def test_the_board_is_sorted_filtered_and_remembered_in_the_address(page: Page, site: Path) -> None:
    page.goto((site / "mini" / "index.html").as_uri())
    asked = methods_shown(page)
    assert set(asked) == set(METHODS)
    page.get_by_role("button", name="gap", exact=True).click()
    assert numbers(page, "gap") == sorted(numbers(page, "gap"), reverse=True)
    assert page.locator("th[data-key=gap]").get_attribute("aria-sort") == "descending"
    page.locator("th[data-key=gap] button").press("Enter")
    assert numbers(page, "gap") == sorted(numbers(page, "gap"))
    page.get_by_role("combobox", name="kind").select_option("floor")
    assert set(methods_shown(page)) == {"kmeans", "random_directions"}
    assert "2 of 4 rows" in page.locator("output").inner_text()
    address = page.url
    assert "sort=gap" in address
    assert "kind=floor" in address
    page.goto("about:blank")
    page.goto(address)
    assert methods_shown(page) == ["random_directions", "kmeans"]
    page.get_by_role("combobox", name="kind").select_option("")
    page.get_by_role("searchbox", name="find").fill("TOPK")
    assert methods_shown(page) == ["topk_sae"]


def test_what_is_shown_is_saved(page: Page, site: Path, tmp_path: Path) -> None:
    page.goto((site / "mini" / "index.html").as_uri() + "#sort=-gap&kind=floor")
    for name in ("CSV", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        download.value.save_as(tmp_path / f"saved.{name.lower()}")
        assert download.value.suggested_filename == f"mini.{name.lower()}"
    with (tmp_path / "saved.csv").open(newline="", encoding="utf-8") as file:
        saved = list(csv.DictReader(file))
    assert [line["method"] for line in saved] == ["kmeans", "random_directions"]
    assert float(saved[0]["gap"]) == pytest.approx(0.0978, abs=5e-5)
    told = json.loads((tmp_path / "saved.json").read_text(encoding="utf-8"))
    assert [str(line["gap"]) for line in told] == [line["gap"] for line in saved]
    page.goto((site / "mini" / "index.html").as_uri() + "#q=topk_sae")
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    download.value.save_as(tmp_path / "one.json")
    (one,) = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))
    place = [column.key for column in COLUMNS].index("rank") + 1
    assert one["rank"] == page.locator(f"#board tbody tr > :nth-child({place})").inner_text()


def told_scores(latent: int) -> dict[str, float]:
    """Headline of one latent by variant, from the published table."""
    (row,) = (row for row in chosen() if row.info.method == SPOKEN)
    every = row.samples()
    own = every[(every["replicate"] == 0) & (every["latent"] == latent)].set_index("variant")
    return {str(variant): float(value) for variant, value in own["fuzzing-token-matched@1"].items()}


def test_a_latent_is_found_and_compared_with_the_nulls(page: Page, site: Path) -> None:
    page.get_by_role("link", name="mini").click()
    page.get_by_role("link", name=SPOKEN).click()
    page.get_by_role("link", name="at layers.2").click()
    every = len(methods_shown(page))
    assert not page.locator("#compare").is_visible()
    page.get_by_role("button", name="trained", exact=True).click()
    page.get_by_role("searchbox", name="find").fill("THE WORD 4 ")
    assert methods_shown(page) == ["4"]
    page.get_by_role("link", name="4", exact=True).press("Enter")
    cards = page.locator("#compare article")
    assert cards.locator("h3").all_inner_texts() == [*VARIANTS]
    drawn = cards.filter(has_text="the word 4 <<b>>")
    assert drawn.count() >= 2
    shown = [" river", HOSTILE, "⏎", "__proto__", "</script>"]
    for card in drawn.all():
        variant = card.locator("h3").inner_text()
        assert card.locator(".context span").all_inner_texts() == [*shown, f"{variant} 4"]
    assert drawn.first.locator(".fires").all_inner_texts() == [HOSTILE, "__proto__", "</script>"]
    assert [str(one.get_attribute("class"))[-1] for one in drawn.first.locator(".fires").all()] == ["5", "2", "9"]
    assert page.evaluate("document.activeElement.textContent") == "Latent 4"
    assert page.locator("tr.chosen th").all_inner_texts() == ["4"]
    score = drawn.first.locator("p").first.inner_text()
    every_score = told_scores(4)
    assert {variant: f"{value:.2f}" for variant, value in every_score.items()} == {
        card.locator("h3").inner_text(): re.findall(r"@1 (\S+)", card.locator("p").first.inner_text())[0]
        for card in drawn.all()
    }
    address = page.url
    assert "latent=4" in address
    assert "sort=-trained" in address
    page.goto("about:blank")
    page.goto(address)
    assert methods_shown(page) == ["4"]
    assert page.locator("#compare article p").first.inner_text() == score
    page.get_by_role("searchbox", name="find").fill("</SCRIPT>")
    assert len(methods_shown(page)) == every
    page.get_by_role("searchbox", name="find").fill("no such word")
    assert methods_shown(page) == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_contrast_in_both_themes(browser: Browser, site: Path, width: int, scheme: Any) -> None:
    made = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    names = ("index.html", "mini/index.html", "mini/methods/topk_sae.html", f"mini/methods/{LATENTS}#latent=4")
    for name in names:
        made.goto(f"{site.as_uri()}/{name}")
        assert made.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        for selector in ("body", "figcaption", "a", "tr.floor td", ".context", ".level5", ".level9", ".why"):
            if made.locator(selector).count():
                assert contrast(made, selector) >= 4.5, (name, selector)
    made.close()


def contrast(page: Page, selector: str) -> float:
    """WCAG 2 contrast of an element's text on the nearest background behind it."""
    found = page.locator(selector).first.evaluate(
        """(element) => {
            const text = getComputedStyle(element).color;
            let behind = element, colour = "rgba(0, 0, 0, 0)";
            while (behind && /, 0\\)$/.test(colour)) {
                colour = getComputedStyle(behind).backgroundColor;
                behind = behind.parentElement;
            }
            return [text, colour];
        }"""
    )

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, found))
    return (high + 0.05) / (low + 0.05)
