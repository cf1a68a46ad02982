"""What was trained elsewhere: loaded on the networks that it is of, and scored as if it had been fitted here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file

from benchmark.errors import BadInput
from benchmark.records import Record
from benchmark.run import pipeline, plan, pretrained
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec import suite as suites
from benchmark.spec.cell import cells
from benchmark.spec.method import Method
from benchmark.spec.suite import Suite
from benchmark.store import Store
from leaderboard import compare, headline, pages, publication, results, screen
from leaderboard.contenders import KnownFloors
from leaderboard.contents import Heading
from leaderboard.rows import ResultRow, of_records, wanted
from tests.conftest import REVISION, Silent, tiny_settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = """
from baselines.topk_sae.method import FittedSAE


class Elsewhere:
    load = staticmethod(FittedSAE.load)
"""
NO_LOAD = """
class Elsewhere:
    pass
"""


def written(folder: Path, pretrained: Mapping[str, Mapping[str, str]], source: str = SOURCE, **said: object) -> Path:
    """A method that loads the reference's own format."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, object] = {"track": "features", "entry": "Elsewhere", "summary": "loaded", "uses": ["topk_sae"]}
    manifest |= {"revision": REVISION, **said}
    (folder / "method.py").write_text(source)
    (folder / "method.toml").write_text(tomli_w.dumps(manifest | {"pretrained": pretrained}))
    return folder


def run(suite: Suite, runs: Path, method: Method) -> list[Record]:
    pipeline.run(suite, [MethodRun(method, methods.rows(method, suite))], Store(runs), "none", Silent())
    return list(Store(runs).records(suite.name, method.name))


def row_of(runs: Path, method: str) -> ResultRow:
    store = Store(runs)
    records, joins = store.selected()
    (row,) = [one for one in of_records(records, joins, store.latents) if one.info.method == method]
    return row


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, subjects: Path) -> dict[str, Any]:
    """The reference, fitted here, and the same weights as a method that loads them at one of two hookpoints."""
    home = tmp_path_factory.mktemp("pretrained")
    settings = tiny_settings(subjects) | {"variants": ["trained", "step0"]}
    suite, runs = Suite.model_validate(settings), home / "runs"
    fitted = run(suite, runs, methods.load("topk_sae"))
    sources: dict[str, dict[str, str]] = {}
    for record in fitted:
        where = record.where
        if where.variant == "trained" and where.place == "layers.1":
            weights = f"weights/{where.source}/{where.place}"
            shutil.copytree(Store(runs).featurizer(record.fit_id), home / "elsewhere" / weights)
            sources.setdefault(str(subjects / where.source), {})[where.place] = weights
    folder = written(home / "elsewhere", sources, recipe="topk_sae", revision=REVISION)
    loaded = run(suite, runs, methods.load(str(folder)))
    return {"suite": suite, "runs": runs, "folder": folder, "loaded": loaded, "fitted": fitted}


def test_it_is_scored_where_it_has_fits_and_nowhere_else(done: dict[str, Any]) -> None:
    assert {(one.where.variant, one.where.replicate, one.where.place) for one in done["loaded"]} == {
        ("trained", 0, "layers.1"),
        ("trained", 1, "layers.1"),
    }
    assert {one.status for one in done["loaded"]} == {"scored"}
    assert all(set(one.settings["pretrained"]) == {"seed0", "seed1"} for one in done["loaded"])
    assert all("fit_seconds" not in one.cost and "load_seconds" in one.cost for one in done["loaded"])


def test_the_same_weights_have_the_same_values(done: dict[str, Any]) -> None:
    fitted = {(one.where.variant, one.where.replicate, one.where.place): one for one in done["fitted"]}
    for one in done["loaded"]:
        assert one.metrics == fitted[one.where.variant, one.where.replicate, one.where.place].metrics


def test_nothing_is_computed_twice(done: dict[str, Any]) -> None:
    method = methods.load(str(done["folder"]))
    run_of = MethodRun(method, methods.rows(method, done["suite"]))
    assert plan.make(done["suite"], [run_of], Store(done["runs"]), download=False).pending == []


def test_it_says_that_it_has_no_null_and_claims_nothing(done: dict[str, Any]) -> None:
    rows = [row_of(done["runs"], name) for name in ("topk_sae", "elsewhere")]
    (entry,) = [one for one in headline.entries(rows) if one.method == "elsewhere"]
    assert entry.pretrained
    assert (entry.claimed, entry.gates, entry.rank, entry.p_holm, entry.claim) == (False, (), None, None, None)
    assert screen.sentence(entry).endswith("trained elsewhere, it has no null: no claim")
    text = screen.text(rows, headline.entries(rows), {rows[0].suite: Heading("## tiny", None, "tiny")}, lambda *_: None)
    lines = text.splitlines()
    apart = next(number for number, line in enumerate(lines) if "*trained elsewhere: no null*" in line)
    assert lines[apart + 1].startswith("| elsewhere |")
    assert "| no null |" in lines[apart + 1]
    assert "none is asked; 2 of 4 cells on trained" in lines[apart + 1]
    assert entry.scores["trained"].replicates == 2


def test_it_is_compared_with_the_fits_of_its_recipe(done: dict[str, Any]) -> None:
    """On the cells that both have: the mean of the recipe's own is over four of them."""
    rows = [row_of(done["runs"], name) for name in ("topk_sae", "elsewhere")]
    found = compare.compare(rows, "tiny", "elsewhere", "topk_sae")
    assert found.of_scores
    assert {one.metric for one in found.differences} >= {"fuzzing-token-matched@1", "recovered_variance@1"}
    assert all(one.first == one.second and one.replicates == 2 for one in found.differences)
    page = pages.text(rows[1:], headline.entries(rows), Heading("## tiny", None, "tiny"), rows[:1])
    table = page.partition("### Trained elsewhere")[2].partition("##")[0]
    (line,) = [line for line in table.splitlines() if line.startswith("| recovered_variance@1 ")]
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[2] == cells[3] != "n/a"
    assert "### Gates" not in page
    with pytest.raises(BadInput, match="has no null"):
        compare.leads([*rows, rows[0]._replace(info=rows[0].info.model_copy(update={"method": "pca"}))], "tiny",
                      "elsewhere", KnownFloors({"pca": "all"}, lambda suite, track: ()))  # fmt: skip


def test_a_difference_is_signed_so_that_better_is_positive(done: dict[str, Any]) -> None:
    row = row_of(done["runs"], "elsewhere")
    other = row._replace(scores=row.scores + 0.25)
    found = {one.metric: one for one in compare.on_trained(row, other)}
    assert found["fvu@1"].second == pytest.approx(found["fvu@1"].first + 0.25)
    three = [row.scores.rename(index={0: number, 1: number + 1}, level="replicate") for number in (0, 2)]
    wide = row._replace(scores=type(row.scores)(three[0]).combine_first(three[1]))
    found = {one.metric: one for one in compare.on_trained(wide, wide._replace(scores=wide.scores * 0))}
    fvu, recovered = found["fvu@1"].difference, found["recovered_variance@1"].difference
    assert fvu is not None
    assert recovered is not None
    assert fvu.mean < 0 < recovered.mean


def test_a_published_row_has_the_cells_that_it_names(done: dict[str, Any], tmp_path: Path) -> None:
    store = Store(done["runs"])
    publication.publish(store, tmp_path, "elsewhere", None, lambda *_: None, lambda *_: {})
    (row,) = results.rows(tmp_path)
    assert row.pretrained
    assert len(row.scores) == 2
    folder = results.folder_of(tmp_path, row.info)
    for name in (results.SCORES, results.CELLS):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(BadInput, match="not those of the suite"):
        results.read(folder)


def refused(suite: Suite, runs: Path, folder: Path) -> str:
    with pytest.raises(BadInput) as caught:
        run(suite, runs, methods.load(str(folder)))
    return str(caught.value)


def changed(**said: object) -> Callable[[Path], None]:
    def change(home: Path) -> None:
        for weights in home.glob("weights/*/*"):
            (weights / "cfg.json").write_text(json.dumps({"d_in": 32} | said))

    return change


def written_into(name: str, text: str) -> Callable[[Path], None]:
    def change(home: Path) -> None:
        (home / name).write_text(text)

    return change


def without_weights(home: Path) -> None:
    for file in home.rglob("*.safetensors"):
        file.rename(file.with_suffix(".pt"))


def named_otherwise(home: Path) -> None:
    text = (home / "method.toml").read_text()
    (home / "weights" / "seed0" / "layers.1").rename(home / "weights" / "seed0" / "layers.0.mlp")
    (home / "method.toml").write_text(text.replace("weights/seed0/layers.1", "weights/seed0/layers.0.mlp"))


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def change(home: Path) -> None:
        text = (home / "method.toml").read_text()
        assert old in text
        (home / "method.toml").write_text(text.replace(old, new))

    return change


OFFENCES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (lambda home: shutil.rmtree(home / "weights" / "seed0" / "layers.1"), "there is no folder weights/"),
    "outside": (replaced("weights/seed0/layers.1", "../elsewhere/weights/seed0/layers.1"), r"there is no folder \.\./"),
    "pickles": (without_weights, "holds no safetensors"),
    "another width": (changed(d_in=64), "takes activations of width 64, and seed0 has 32"),
    "another network": (changed(metadata={"model_name": "pythia-70m"}), "trained on pythia-70m, and method"),
    "another hook": (
        changed(metadata={"hook_name": "blocks.3.hook_resid_post"}),
        r"trained on blocks.3.hook_resid_post \(layers.3\) and method.toml has it at layers.1",
    ),
    "no residual stream": (changed(hook_point="blocks.0.hook_mlp_out"), r"\(no residual stream after a block"),
    "another module": (named_otherwise, r"trained on layers.0.mlp \(no residual"),
    "a transcoder": (changed(transcode=True), "is a transcoder"),
    "centred": (changed(model_from_pretrained_kwargs={"center_writing_weights": True}), "centred activations"),
    "no JSON": (written_into("weights/seed0/layers.1/cfg.json", "[1]"), "no metadata that can be"),
    "no load": (written_into("method.py", NO_LOAD), r"Elsewhere has no load\(folder\)"),
}  # fmt: skip


@pytest.mark.parametrize("offence", OFFENCES)
def test_what_is_of_something_else_is_refused_before_any_compute(
    offence: str, done: dict[str, Any], tmp_path: Path
) -> None:
    home = tmp_path / "copied"
    shutil.copytree(done["folder"], home)
    change, said = OFFENCES[offence]
    change(home)
    with pytest.raises(BadInput, match=said):
        run(done["suite"], tmp_path / "runs", methods.load(str(home)))
    assert list(Store(tmp_path / "runs").records("tiny", "copied")) == []


def test_hooks_are_named_as_hookpoints() -> None:
    assert pretrained.hookpoint("blocks.3.hook_resid_post") == "layers.3"
    assert pretrained.hookpoint("blocks.3.hook_resid_pre") == "layers.2"
    assert pretrained.hookpoint("gpt_neox.layers.11") == "layers.11"
    for point in ("blocks.0.hook_resid_pre", "layers.3.mlp", "blocks.1.attn.hook_z"):
        assert pretrained.hookpoint(point) is None


def test_a_suite_without_its_networks_or_places_is_refused(done: dict[str, Any], tmp_path: Path) -> None:
    folder = written(tmp_path / "other", {"EleutherAI/pythia-70m": {"layers.3": "weights"}})
    assert "suite tiny asks for none of its fits: it has some of EleutherAI/pythia-70m, at layers.3" in refused(
        done["suite"], tmp_path / "runs", folder
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"settings": {"k": 1}}, "no settings and presets"),
        ({"scope": "model"}, "never fitted"),
        ({"settings": {"pretrained": 1}}, "no setting can be called pretrained"),
    ],
)
def test_a_manifest_that_says_both_is_refused(said: dict[str, Any], why: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "both", {"n": {"layers.0": "weights"}}, **said)
    with pytest.raises(BadInput, match=why):
        methods.load(str(folder))


def test_neither_preset_nor_recipe_without_weights(tmp_path: Path, suite: Suite) -> None:
    with pytest.raises(BadInput, match="recipe goes with"):
        methods.load(str(written(tmp_path / "none", {}, recipe="topk_sae")))
    method = methods.load(str(written(tmp_path / "some", {"n": {"layers.0": "weights"}})))
    with pytest.raises(BadInput, match="no presets"):
        methods.rows(method, suite, "wide")


@pytest.mark.parametrize("source", ["hub:o/n/layers.1", "hub:o/n@main/layers.1", f"hub:o/n@{COMMIT}/../../x", "hub:n"])
def test_a_branch_of_the_hub_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="40 digits of a commit"):
        methods.load(str(written(tmp_path / "moving", {"n": {"layers.0": source}})))


def test_weights_of_the_hub(done: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its cache, in its layout; what is not there is counted by a plan, and refused by a run."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    subjects = next(iter(done["suite"].subject.replicates.values()))
    folder = written(tmp_path / "hub", {subjects: {"layers.1": f"hub:some/saes@{COMMIT}/k4/layers.1"}})
    method = methods.load(str(folder))
    run_of = MethodRun(method, methods.rows(method, done["suite"]))
    planned = plan.make(done["suite"], [run_of], Store(tmp_path / "runs"), download=False)
    assert planned.absent == 1
    assert "hub: 1 sets of weights are to be downloaded" in plan.needs(planned, 1)
    assert "connect once, or put the files into the method's folder" in refused(
        done["suite"], tmp_path / "runs", folder
    )
    repository = tmp_path / "cache" / "models--some--saes"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(
        done["folder"] / "weights" / "seed0" / "layers.1", repository / "snapshots" / COMMIT / "k4/layers.1"
    )
    assert plan.make(done["suite"], [run_of], Store(tmp_path / "runs"), download=False).absent == 0
    (record,) = run(done["suite"], tmp_path / "runs", method)
    (same,) = [one for one in done["loaded"] if (one.where.replicate, one.where.place) == (0, "layers.1")]
    assert record.metrics == same.metrics


def test_suites_of_the_repository_name_networks_as_methods_do() -> None:
    """Built-in names and hub ids are shown as they are, so that a row says what it is of."""
    for name in suites.names():
        said = suites.load(name)
        assert set(said.content()["subject"]["replicates"].values()) == set(said.subject.replicates.values())


def test_only_weights_and_metadata_are_copied(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "folder"
    for one in (source, folder):
        one.mkdir()
    save_file({"x": torch.zeros(2)}, source / "sae.safetensors")
    for name in ("cfg.json", "optimizer.pt", "run.py"):
        (source / name).write_text("{}")
    pretrained.copy(source, folder)
    assert sorted(file.name for file in folder.iterdir()) == ["cfg.json", "sae.safetensors"]


def test_networks_that_are_shown_by_one_name_are_refused(done: dict[str, Any], tmp_path: Path) -> None:
    """Records show the last part of a local path: one would be scored with the weights of the other."""
    with pytest.raises(BadInput, match="are shown by one name, net"):
        methods.load(str(written(tmp_path / "two", {"/a/net": {"layers.1": "w"}, "/b/net": {"layers.1": "w"}})))
    elsewhere = {f"/elsewhere/seed{seed}": {"layers.1": f"weights/seed{seed}/layers.1"} for seed in range(2)}
    folder = tmp_path / "copied"
    shutil.copytree(done["folder"], folder)
    assert "asks for none of its fits" in refused(done["suite"], tmp_path / "runs", written(folder, elsewhere))
    twice = {0: "/a/net", 1: "/b/net"}
    subject = done["suite"].subject.model_copy(update={"replicates": twice})
    method = methods.load(str(done["folder"]))
    said = pretrained.refused(done["suite"].model_copy(update={"subject": subject}), method, [])
    assert "are shown by one name, net" in str(said)


def test_other_hookpoints_of_another_network_are_refused(done: dict[str, Any], tmp_path: Path) -> None:
    """A mean over networks would silently be over those that have all of them."""
    shutil.copytree(done["folder"], tmp_path / "uneven")
    networks = dict(zip(done["suite"].subject.replicates.values(), ("layers.0", "layers.1"), strict=True))
    uneven = {network: {place: "weights/seed0/layers.1"} for network, place in networks.items()}
    said = refused(done["suite"], tmp_path / "runs", written(tmp_path / "uneven", uneven))
    assert "it has layers.0 of seed0 and layers.1 of seed1: means over networks need the same hookpoints" in said


def test_another_revision_of_the_networks_is_refused(done: dict[str, Any], tmp_path: Path) -> None:
    network = done["suite"].subject.replicates[0]
    folder = written(tmp_path / "early", {network: {"layers.1": "weights"}}, revision="step100")
    assert "its fits are of revision step100 of the networks" in refused(done["suite"], tmp_path / "runs", folder)


def test_weights_are_scored_under_one_method_seed(done: dict[str, Any]) -> None:
    """The same weights three times are no three fits."""
    suite = done["suite"].model_copy(update={"method_seeds": [2, 0, 1]})
    method = methods.load(str(done["folder"]))
    made = cells(suite, method, methods.rows(method, suite), suite.hookpoints)
    assert [(cell.group.replicate, cell.method_seed) for cell in made] == [(0, 0), (1, 0)]
    content = done["loaded"][0].suite | {"method_seeds": [0, 1, 2]}
    assert {cell.method_seed for cell in wanted(content, done["loaded"][0].settings)} == {0}


def test_what_cannot_be_loaded_is_not_kept(done: dict[str, Any], tmp_path: Path) -> None:
    """A folder that is mended is loaded by the next run: nothing of the first one stands in the way."""
    shutil.copytree(done["folder"], tmp_path / "mended")
    state = tmp_path / "mended" / "weights" / "seed1" / "layers.1" / "sae.json"
    text = state.read_text()
    state.unlink()
    assert "No such file" in refused(done["suite"], tmp_path / "runs", tmp_path / "mended")
    store = Store(tmp_path / "runs")
    assert len(list((store.root / "pretrained").iterdir())) == 1
    state.write_text(text)
    assert len(run(done["suite"], tmp_path / "runs", methods.load(str(tmp_path / "mended")))) == 2


def test_weights_take_no_room_of_what_is_fitted_here(done: dict[str, Any], tmp_path: Path) -> None:
    suite = done["suite"].model_copy(update={"keep_gib": 1e-9})
    run(suite, tmp_path / "runs", methods.load(str(done["folder"])))
    assert Store(tmp_path / "runs").kept_bytes() < 2**20
    assert len(list((tmp_path / "runs" / "pretrained").iterdir())) == 2


def test_a_width_that_nothing_names_is_found_before_any_compute(done: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(done["folder"], tmp_path / "narrow")
    for weights in (tmp_path / "narrow").rglob("*.safetensors"):
        narrow = {name: value[..., :16] for name, value in load_file(weights).items()}
        save_file({name: value.contiguous() for name, value in narrow.items()}, weights)
    assert "method narrow: " in refused(done["suite"], tmp_path / "runs", tmp_path / "narrow")
    assert not (tmp_path / "runs" / "blocks").exists()


def test_a_link_out_of_the_folder_is_refused(done: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(done["folder"], tmp_path / "linked")
    (tmp_path / "secret.txt").write_text("mine")
    (tmp_path / "linked/weights/seed0/layers.1/leak.json").symlink_to(tmp_path / "secret.txt")
    assert "leak.json is a link out of the method's folder" in refused(
        done["suite"], tmp_path / "runs", tmp_path / "linked"
    )


def test_files_that_no_hash_is_of_are_not_loaded(tmp_path: Path) -> None:
    for name in ("a.safetensors", "expected.json", "state.json"):
        (tmp_path / name).write_text("{}")
    assert [file.name for file in pretrained.read_of(tmp_path)] == ["a.safetensors", "state.json"]


def test_a_finished_run_asks_for_no_weights(done: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(done["folder"], tmp_path / "gone")
    run(done["suite"], tmp_path / "runs", methods.load(str(tmp_path / "gone")))
    method = methods.load(str(tmp_path / "gone"))
    shutil.rmtree(tmp_path / "gone" / "weights")
    one = MethodRun(method, methods.rows(method, done["suite"]))
    outcome = pipeline.run(done["suite"], [one], Store(tmp_path / "runs"), "none", Silent())
    assert (outcome.computed, outcome.cached) == (0, 2)


def test_in_a_process_of_its_own_and_from_a_relative_folder(
    done: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    method = methods.load(str(done["folder"]))
    one = MethodRun(method, methods.rows(method, done["suite"]))
    assert not pipeline.run(done["suite"], [one], Store(Path("runs")), "process", Silent()).failed
    values = [record.metrics["fvu@1"] for record in Store(Path("runs")).records("tiny", "elsewhere")]
    assert values == [record.metrics["fvu@1"] for record in done["loaded"]]


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ({"architecture": "transcoder"}, True),
        ({"metadata": {"hook_name": "blocks.1.hook_resid_pre", "hook_name_out": "blocks.1.hook_resid_post"}}, True),
        ({"d_out": 64}, True),
        ({"d_out": None, "metadata": {"hook_name": "layers.1", "hook_name_out": None}}, False),
    ],
)
def test_transcoders_are_told_by_their_metadata(said: dict[str, Any], is_one: bool, tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": 32} | said))
    assert pretrained.told(tmp_path).transcoder is is_one


@pytest.mark.parametrize(
    ("folder", "wanted"), [("", {"cfg.json", "sae.safetensors"}), ("k4/a", {"k4/a/cfg.json", "k4/a/sae.safetensors"})]
)
def test_of_a_repository_one_folder_is_downloaded(folder: str, wanted: set[str]) -> None:
    """Others may hold hundreds of sets of weights, and files that nobody loads."""
    homes = ("", "k4/", "k4/a/", "k4/a/b/", "k4/ab/")
    files = [home + name for home in homes for name in ("cfg.json", "sae.safetensors", "optimizer.pt")]
    assert set(filter_repo_objects(files, **pretrained.patterns(folder))) == wanted


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RepositoryNotFoundError, "there is no such repository on the hub"),
        (RevisionNotFoundError, "the repository has no such commit"),
    ],
)
def test_what_the_hub_does_not_have_is_said(
    error: type[HfHubHTTPError], said: str, done: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = error  # made without the hub's answer, which it would ask for

    def missing(*_: object, **__: object) -> str:
        raise kind.__new__(kind)

    monkeypatch.setattr(pretrained, "snapshot_download", missing)
    network = done["suite"].subject.replicates[0]
    folder = written(tmp_path / "hub", {network: {"layers.1": f"hub:some/saes@{COMMIT}/layers.1"}})
    assert said in refused(done["suite"], tmp_path / "runs", folder)
