"""Bad input: one clear sentence, exit code 2, nothing computed. And what the commands print."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w
from typer.testing import CliRunner

from benchmark.__main__ import app
from benchmark.spec import method as methods
from benchmark.store import Store
from benchmark.tracks.features.track import FeaturesTrack
from leaderboard import board, results
from tests.conftest import REVISION
from tests.leaderboard.rendered import put_row

runner = CliRunner()
Change = Callable[[dict[str, Any], Path], list[str]]


def set_field(*path: str, value: Any) -> Change:
    def change(settings: dict[str, Any], folder: Path) -> list[str]:
        for part in path[:-1]:
            settings = settings[part]
        settings[path[-1]] = value
        return []

    return change


def spoiled_subject(spoil: Callable[[Path], object]) -> Change:
    def change(settings: dict[str, Any], folder: Path) -> list[str]:
        copy = folder / "subject"
        shutil.copytree(settings["subject"]["replicates"]["0"], copy)
        spoil(copy / REVISION)
        settings["subject"]["replicates"] = {"0": str(copy)}
        return []

    return change


def as_llama(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))


def corpus_file(content: bytes) -> Change:
    def change(settings: dict[str, Any], folder: Path) -> list[str]:
        path = folder / "corpus.jsonl"
        path.write_bytes(content)
        settings["corpus"]["source"] = str(path)
        return []

    return change


def blocked_runs(settings: dict[str, Any], folder: Path) -> list[str]:
    (folder / "file").write_text("in the way")
    return ["--runs", str(folder / "file" / "runs")]


def without(field: str) -> Change:
    def change(settings: dict[str, Any], folder: Path) -> list[str]:
        del settings[field]
        return []

    return change


def same_replicate(settings: dict[str, Any], folder: Path) -> list[str]:
    settings["subject"]["replicates"]["1"] = settings["subject"]["replicates"]["0"]
    return []


def built_in(*path: str, value: Any) -> Change:
    """A fault in a suite on the built-in subject."""

    def change(settings: dict[str, Any], folder: Path) -> list[str]:
        settings["subject"] |= {"replicates": {"0": "built-in:pythia-mini/seed0"}, "revision": "main"}
        return set_field(*path, value=value)(settings, folder)

    return change


def concepts_of_other_text(settings: dict[str, Any], folder: Path) -> list[str]:
    settings["metrics"] = ["concept_recovery@1"]
    return corpus_file(b'{"text": "a few words"}')(settings, folder)


BAD = {
    "built-in, hookpoint": (built_in("hookpoints", value=["layers.9"]), "layers.2, layers.3"),
    "built-in, seed": (
        built_in("subject", "replicates", value={"0": "built-in:pythia-mini/seed9"}),
        "did you mean 'built-in:pythia-mini/seed",
    ),
    "built-in, revision": (built_in("subject", "revision", value="step3"), "step100"),
    "built-in, k": (built_in("methods", "topk_sae", value=[{"k": 9999}]), "k = 9999 exceeds"),
    "built-in, device": (built_in("subject", "device", value="cuda:9"), "is not there"),
    "unknown metric": (set_field("metrics", value=["fvu@2"]), "unknown metric 'fvu@2': did you mean 'fvu@1'?"),
    "unknown variant": (set_field("variants", value=["trainde"]), "did you mean 'trained'?"),
    "unknown hookpoint": (set_field("hookpoints", value=["layers.7"]), "allowed: layers.0, layers.1"),
    "malformed hookpoint": (set_field("hookpoints", value=["mlp.1"]), "write layers.N"),
    "unknown preset": (lambda settings, folder: ["--preset", "papr"], "did you mean 'paper'?"),
    "unknown isolation": (lambda settings, folder: ["--isolation", "cage"], "allowed: jail, process, none"),
    "unknown setting": (set_field("methods", "topk_sae", value=[{"kk": 3}]), "unknown setting of topk_sae 'kk'"),
    "not GPT-NeoX": (spoiled_subject(as_llama), "is a 'llama' model, not GPT-NeoX"),
    "no tokenizer": (spoiled_subject(lambda folder: (folder / "tokenizer.json").unlink()), "has no tokenizer"),
    "no revision": (set_field("subject", "revision", value=""), "'' names no revision"),
    "a revision elsewhere": (set_field("subject", "revision", value="../seed1/step0"), "names no revision"),
    "unknown revision": (set_field("subject", "revision", value=REVISION + "1"), f"did you mean '{REVISION}'?"),
    "concepts without labels": (concepts_of_other_text, "only corpus built-in:world has them"),
    "missing subject": (set_field("subject", "replicates", value={"0": "/nowhere/at/all"}), "does not exist"),
    "empty corpus": (corpus_file(b""), "is empty"),
    "corpus not UTF-8": (corpus_file(b'{"text": "\xff\xfe"}\n'), "cannot be read to its end as UTF-8"),
    "too little text": (corpus_file(b'{"text": "a few words only"}\n'), "the suite needs 20,000"),
    "k over n_latents": (set_field("methods", "topk_sae", value=[{"expansion_factor": 1, "k": 99}]), "k = 99 exceeds"),
    "unknown field": (set_field("tokens", "scores", value=3), "did you mean 'score'?"),
    "missing field": (without("corpus"), "field 'corpus' is missing"),
    "runs not writable": (blocked_runs, "cannot be written"),
    "device not there": (set_field("subject", "device", value="cuda:9"), "device 'cuda:9' is not there"),
    "one checkpoint twice": (same_replicate, "is listed twice"),
    "unknown judge": (set_field("judge", value="lexcial"), "did you mean 'lexical'?"),
    "judge without address": (lambda settings, folder: ["--judge", "local-chat-completions:model=m"], "base_url=URL"),
    "judge not running": (
        set_field("judge", value="local-chat-completions:model=m,base_url=http://127.0.0.1:9/v1"),
        "nothing answers at 127.0.0.1:9",
    ),
    "block too long": (set_field("tokens", "block", value=4096), "takes at most 256 positions"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(tiny: dict[str, Any], tmp_path: Path, case: str) -> None:
    change, sentence = BAD[case]
    extra = change(tiny, tmp_path)
    suite = tmp_path / "tiny.toml"
    suite.write_text(tomli_w.dumps(tiny))
    runs = [] if "--runs" in extra else ["--runs", str(tmp_path / "runs")]
    result = runner.invoke(app, ["run", "topk_sae", "--suite", str(suite), *runs, *extra])
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("records/*"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "topk_sea"], "unknown method 'topk_sea': did you mean 'topk_sae'?"),
        (["run", ""], "no method is named: give some of"),
        (["run", "topk_sae", "--suite", "smok"], "unknown suite 'smok': did you mean 'smoke'?"),
        (["plan", "nothing"], "unknown method"),
        (["publish", "topk_sae", "--runs", "/nowhere"], "no records of topk_sae"),
        (["show", "/nowhere/at/all.json"], "does not exist"),
        (["show", "zzz", "--runs", "/nowhere"], "no records begin with 'zzz'"),
    ],
)
def test_unknown_names(arguments: list[str], sentence: str) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_run_plan_and_render(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny |= {"variants": ["trained", "step0"], "hookpoints": ["layers.1"], "metrics": ["fvu@1", "universality@1"]}
    suite = tmp_path / "tiny.toml"
    suite.write_text(tomli_w.dumps(tiny))
    options = ["topk_sae", "--suite", str(suite), "--runs", str(tmp_path / "runs")]
    before = runner.invoke(app, ["plan", *options])
    assert "4 cells, 0 done" in before.stdout
    result = runner.invoke(app, ["run", *options])
    assert result.exit_code == 0, result.output
    assert "cell 4/4" in result.stdout
    assert "fvu@1" in result.stdout
    after = runner.invoke(app, ["plan", *options])
    assert "4 cells, 4 done" in after.stdout
    page = tmp_path / "runs" / "pages" / "tiny" / "topk_sae.md"
    assert "(pages/tiny/topk_sae.md)" in (tmp_path / "runs" / "LEADERBOARD.md").read_text()
    assert "### universality@1" in page.read_text()
    assert str(page) in result.stdout.replace("\n", "")
    assert len(Store(tmp_path / "runs").records("tiny", "topk_sae")) == 4


def test_show_prints_what_latents_stand_for(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny |= {"variants": ["trained"], "hookpoints": ["layers.1"], "metrics": ["fuzzing@1", "fuzzing-token-matched@1"]}
    tiny["tokens"] |= {"explain": 8_000, "score": 8_000}
    suite, runs = tmp_path / "tiny.toml", ["--runs", str(tmp_path / "runs")]
    suite.write_text(tomli_w.dumps(tiny))
    assert runner.invoke(app, ["run", "topk_sae", "--suite", str(suite), *runs]).exit_code == 0
    path = next(path for path in (tmp_path / "runs" / "records").rglob("*.json") if len(path.stem) == 16)
    table = pd.read_parquet(path.with_suffix(".parquet"))
    every = runner.invoke(app, ["show", path.stem[:6], *runs])
    assert every.exit_code == 0, every.output
    assert all(f"│ {latent} " in every.stdout for latent in table["latent"])
    explained = table[table["explanation"].notna()].iloc[0]
    one = runner.invoke(app, ["show", str(path), "--latent", str(explained["latent"]), *runs])
    assert explained["explanation"] in one.stdout.replace("\n", " ")
    assert one.stdout.count("<<") >= 5
    absent = runner.invoke(app, ["show", str(path), "--latent", "99999", *runs])
    assert absent.exit_code == 2
    assert "was not drawn" in absent.stderr


def test_list_names_everything() -> None:
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0
    for name in ("topk_sae", "smoke", "mini", "rerandomized-keep-embeddings", "cascade:N (null)", "stability@1"):
        assert name in result.stdout
    assert "fvu@1 [share; lower is better]: share of the activations' variance" in result.stdout.replace("\n", " ")
    assert "l0@1 [latents; no direction]" in result.stdout


def test_a_run_says_the_verdict_first_then_a_dozen_metrics_then_the_paths(
    tiny: dict[str, Any], tmp_path: Path, drawn_site: None
) -> None:
    tiny |= {"variants": ["trained", "step0"], "hookpoints": ["layers.1"]}
    suite = tmp_path / "tiny.toml"
    suite.write_text(tomli_w.dumps(tiny))
    options = ["run", "topk_sae", "--suite", str(suite), "--runs", str(tmp_path / "runs")]
    short, long = runner.invoke(app, options), runner.invoke(app, [*options, "--all"])
    lines = [line for line in short.stdout.splitlines() if not line.startswith(("tokenising", "cell", "replicate"))]
    assert "fuzzing-token-matched@1: no claim: under three replicates" in lines[0]
    shown = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert shown == [name for name in FeaturesTrack.first if name in shown]
    assert 10 <= len(shown) <= 12
    assert not any(".lexical" in name for name in shown)
    assert len([line for line in lines if line.startswith("n/a in")]) < 12, "one line per kind"
    assert [line.split(":")[0] for line in lines[-3:]] == ["board", "all metrics", "site"]
    assert (tmp_path / "runs" / "site" / "tiny" / "methods" / "topk_sae.html").is_file()
    every = [line.split("│")[1].strip() for line in long.stdout.splitlines() if line.startswith("│")]
    assert set(shown) < set(every)
    assert "fuzzing.lexical:token@1" in every


def test_a_published_row_is_shown_and_verified_from_its_files(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(board, "HOME", tmp_path)
    built_in("hookpoints", value=["layers.1"])(tiny, tmp_path)
    tiny |= {"variants": ["trained"], "metrics": ["fvu@1", "fuzzing@1", "universality@1"]}
    two = {str(seed): f"built-in:pythia-mini/seed{seed}" for seed in range(2)}
    tiny["subject"]["replicates"] = two
    suite, runs = tmp_path / "tiny.toml", ["--runs", str(tmp_path / "runs")]
    suite.write_text(tomli_w.dumps(tiny))
    assert runner.invoke(app, ["run", "topk_sae", "--suite", str(suite), *runs]).exit_code == 0
    assert runner.invoke(app, ["publish", "topk_sae", *runs]).exit_code == 0
    (row,) = results.rows(tmp_path / "results")
    name, elsewhere = row.cells["score_id"].iloc[0], ["--runs", str(tmp_path / "other")]
    again = runner.invoke(app, ["verify", "topk_sae", "--sample", "1", "--key", "any", "--mark", *elsewhere])
    assert again.exit_code == 0, again.output
    assert "1 of 2 cells, drawn by --key any" in again.stdout
    assert "1 cells are the same" in again.stdout
    (marked,) = results.rows(tmp_path / "results")
    assert marked.info.reported_by == "verified"
    assert marked.info.verification is not None
    assert marked.info.verification.key == "any"
    assert set(marked.info.verification.cells) < {f"trained/{seed}/layers.1/0" for seed in range(2)}
    fresh = runner.invoke(app, ["verify", name, "--fresh", *elsewhere])
    assert fresh.exit_code == 2
    assert "its row has under three other replicates" in fresh.output
    shown = runner.invoke(app, ["show", name[:10], *elsewhere])
    assert shown.exit_code == 0, shown.output
    assert f"{row.info.details['sha256']}.parquet" in shown.stdout
    forged = row.scores.assign(**{"fvu@1": 0.5})
    put_row(tmp_path / "results", row._replace(scores=forged))
    moved = runner.invoke(app, ["verify", name, *elsewhere])
    assert moved.exit_code == 1
    assert "fvu@1" in moved.stdout


def test_plan_says_what_a_run_takes(tiny: dict[str, Any], tmp_path: Path) -> None:
    suite = tmp_path / "tiny.toml"
    suite.write_text(tomli_w.dumps(tiny))
    result = runner.invoke(app, ["plan", "topk_sae", "--suite", str(suite), "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 0, result.output
    assert "20,000 tokens to fit on" in result.stdout
    assert "GiB of activations at a time" in result.stdout


def test_texts_of_others_are_printed_as_they_are(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A summary with markup ended `nullgap list`, and a label with markup the plan."""
    home = tmp_path / "submissions"
    (home / "odd").mkdir(parents=True)
    manifest = {"track": "features", "entry": "M", "summary": "odd [/x] one", "settings": {"name": "a"}}
    (home / "odd" / "method.toml").write_text(tomli_w.dumps(manifest))
    (home / "odd" / "method.py").write_text("class M:\n    pass\n")
    for function in (methods.names, methods.load, methods.chosen):
        monkeypatch.setattr(function, "__defaults__", (*(function.__defaults__ or ())[:-1], (home,)))
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0, result.output
    assert "it holds [ ], which tables and pages would read as markup" in result.stdout.replace("\n", " ")
    (home / "odd" / "method.toml").write_text(tomli_w.dumps(manifest | {"summary": "odd one"}))
    (home / "broken").mkdir()
    (home / "broken" / "method.toml").write_text("track = ")
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0, result.output
    assert "broken: cannot be used: " in result.stdout
    tiny["methods"] = {"odd": [{"name": "[/y]"}]}
    suite = tmp_path / "tiny.toml"
    suite.write_text(tomli_w.dumps(tiny))
    result = runner.invoke(app, ["plan", "odd", "--suite", str(suite), "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 0, result.output
    assert "name=[/y]" in result.stdout


def test_publish_says_what_a_row_lacks(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(board, "HOME", tmp_path)
    tiny |= {"variants": ["trained"], "hookpoints": ["layers.1"], "metrics": ["fvu@1"]}
    suite, runs = tmp_path / "tiny.toml", tmp_path / "runs"
    suite.write_text(tomli_w.dumps(tiny))
    assert runner.invoke(app, ["run", "topk_sae", "--suite", str(suite), "--runs", str(runs)]).exit_code == 0
    record = next(path for path in (runs / "records").rglob("*.json") if len(path.stem) == 16)
    text = record.read_text()
    record.unlink()
    result = runner.invoke(app, ["publish", "topk_sae", "--runs", str(runs)])
    assert result.exit_code == 2
    assert "lacks 1 of 2 cells, such as trained of replicate" in result.stderr
    assert not (tmp_path / "results").exists()
    record.write_text(text)
    assert runner.invoke(app, ["publish", "topk_sae", "--runs", str(runs), "--suite", "tiny"]).exit_code == 0
    assert len([path for path in (tmp_path / "results").rglob("*") if path.is_file()]) == 4
    assert not (runs / "details").exists(), "there are no words, contexts or curves"
    elsewhere = runner.invoke(app, ["publish", "topk_sae", "--runs", str(runs), "--suite", "standard"])
    assert elsewhere.exit_code == 2
    assert "no records of topk_sae on suite standard" in elsewhere.stderr


def test_help_says_what_each_command_does() -> None:
    for command in ("run", "plan", "list", "show", "render", "publish"):
        assert runner.invoke(app, [command, "--help"]).exit_code == 0
