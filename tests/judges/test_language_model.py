"""A language model as judge, against a scripted server: every way in which an answer can go wrong."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from benchmark.errors import BadInput
from benchmark.judges import prompts
from benchmark.judges.backend import JudgeError, Spec, known
from benchmark.judges.contract import Examples, Explanation, Language, Questions
from benchmark.judges.language_model import LanguageModel
from benchmark.judges.open import Judging, identity, open_judge, public
from benchmark.judges.transcript import Transcript
from tests.judges.scripted import Reply, Scripted, is_grading, serving, well

LANGUAGE = Language(np.ones(60, np.int64), lambda ids: "".join(f" w{number}" for number in ids))


def judge(server: Scripted, folder: Path, more: str = "", *, replay: bool = False) -> LanguageModel:
    line = f"local-chat-completions:model=m,base_url={server.url},max_retries=3,num_concurrent=4{more}"
    made = open_judge(Judging(line, folder, replay), LANGUAGE)
    assert isinstance(made, LanguageModel)
    return made


def examples(count: int = 3, token: int = 3) -> list[Examples]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        tokens = rng.integers(60, size=(4, 32))
        tokens[:, 20] = token
        found.append(Examples(tokens, (np.arange(32) == 20) * rng.uniform(1, 3, (4, 1))))
    return found


def questions(seed: int, items: int = 12) -> tuple[Questions, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Items that mark token 3, and items that mark another."""
    rng = np.random.default_rng(seed)
    tokens, right = rng.integers(4, 60, size=(items, 32)), rng.random(items) < 0.5
    tokens[right, 20] = 3
    return Questions(tokens, np.tile(np.arange(32) == 20, (items, 1))), right


def quiet(text: str, done: int, total: int) -> None:
    pass


WORDS = Explanation("the word w3")
ASKED = [(WORDS, questions(seed)[0]) for seed in range(3)]
RIGHT = [questions(seed)[1] for seed in range(3)]


def test_well_formed_answers_are_read_and_counted(tmp_path: Path) -> None:
    with serving() as server:
        one = judge(server, tmp_path, ",price_in=2,price_out=10")
        words = one.explain(examples(), quiet)
        grades = one.grade([(words[0], asked) for _, asked in ASKED], quiet)
    assert [explanation.text for explanation in words] == ["the word w3"] * 3
    for found, right in zip(grades, RIGHT, strict=True):
        np.testing.assert_array_equal(found, right)
    usage = one.usage()
    assert (usage.requests, usage.replayed, usage.unusable, usage.failed) == (3 + 9, 0, 0, 0)
    assert usage.prompt_tokens == 12 * 100
    assert usage.dollars == pytest.approx((1200 * 2 + 120 * 10) / 1e6)
    assert one.usage().requests == 0


def test_a_prompt_shows_marks_strengths_and_numbered_items_only(tmp_path: Path) -> None:
    with serving() as server:
        one = judge(server, tmp_path)
        one.explain(examples(1), quiet)
        one.grade(ASKED[:1], quiet)
    explaining = next(question for question in server.questions if not is_grading(question))
    assert explaining.count("<< w3>>") == 4
    assert '(" w3", 10)' in explaining
    grading = [question for question in server.questions if is_grading(question)]
    assert [question.count("\n") - 1 for question in sorted(grading, key=len, reverse=True)] == [5, 5, 2]


def test_a_second_run_asks_nothing_and_a_replay_needs_no_server(tmp_path: Path) -> None:
    with serving() as server:
        first = judge(server, tmp_path).grade(ASKED, quiet)
        calls = len(server.questions)
        again = judge(server, tmp_path)
        second = again.grade(ASKED, quiet)
        assert len(server.questions) == calls
    assert again.usage().replayed == calls
    replayed = judge(server, tmp_path, replay=True)
    for one, two, three in zip(first, second, replayed.grade(ASKED, quiet), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    with pytest.raises(JudgeError, match="run without replay"):
        replayed.explain(examples(), quiet)
    partly = replayed.grade([*ASKED, (WORDS, questions(9)[0])], quiet)
    np.testing.assert_array_equal(partly[0], first[0])
    assert np.isnan(partly[3]).all()


def test_two_judges_never_see_each_others_answers(tmp_path: Path) -> None:
    def contrary(number: int, question: str) -> Reply:
        said = str(well(number, question).content)
        return Reply(said.translate(str.maketrans("01", "10")))

    with serving() as server, serving(contrary) as other:
        ours = judge(server, tmp_path).grade(ASKED, quiet)
        theirs = judge(other, tmp_path).grade(ASKED, quiet)
        again = judge(server, tmp_path).grade(ASKED, quiet)
        seeded = judge(server, tmp_path, ",seed=7")
        seeded.grade(ASKED[:1], quiet)
    assert len(list(tmp_path.glob("*.sqlite"))) == 3
    assert seeded.usage().replayed == 0
    for one, two, three in zip(ours, theirs, again, strict=True):
        np.testing.assert_array_equal(one, 1 - two)
        np.testing.assert_array_equal(one, three)


def test_one_database_under_two_identities_keeps_them_apart(tmp_path: Path) -> None:
    first, second = Transcript(tmp_path, "first"), Transcript(tmp_path, "second")
    first.put(["question"], "answer")
    with closing(sqlite3.connect(second.path)) as database:
        database.execute("ATTACH ? AS other", (str(first.path),))
        database.execute("INSERT INTO answers SELECT * FROM other.answers")
        database.commit()
    assert len(second) == 1
    assert second.find(["question"]) is None
    assert first.find(["question"]) == "answer"


def test_how_a_judge_is_reached_and_paid_does_not_change_its_identity() -> None:
    line = "local-chat-completions:model=m,base_url=http://a/v1"
    same = identity(f"{line},num_concurrent=99,max_retries=9,timeout=5,price_in=1,price_out=2")
    assert same == identity(line)
    for other in (line.replace("=m", "=n"), line.replace("//a", "//b"), f"{line},seed=3"):
        assert identity(other) != identity(line)
    assert "//a" not in public(line)
    assert public(line).startswith("local-chat-completions:m (")


@pytest.mark.parametrize("status", [429, 500])
def test_a_busy_or_failing_server_is_asked_again(tmp_path: Path, status: int) -> None:
    def script(number: int, question: str) -> Reply:
        return Reply(status=status) if number < 2 else well(number, question)

    with serving(script) as server:
        one = judge(server, tmp_path)
        grades = one.grade(ASKED[:1], quiet)
    np.testing.assert_array_equal(grades[0], RIGHT[0])
    assert one.usage().failed == 0


def test_a_dropped_connection_and_a_slow_answer_cost_nothing(tmp_path: Path) -> None:
    def script(number: int, question: str) -> Reply:
        return well(number, question)._replace(drop=number == 1, delay=0.5 if number == 2 else 0.0)

    with serving(script) as server:
        grades = judge(server, tmp_path).grade(ASKED[:1], quiet)
    np.testing.assert_array_equal(grades[0], RIGHT[0])


UNUSABLE = {
    "empty": Reply(""),
    "null": Reply(None),
    "prose": Reply("I think that the first two are right."),
    "too few": Reply("[1, 0]"),
    "not grades": Reply("[2, 7, 1, 0, 5]"),
    "cut off": Reply("Let me think about this for a while. " * 50 + "[1, 0, 1,"),
    "not JSON": Reply("[yes, no, yes, no, yes]"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_answers_are_counted_and_are_no_grade(tmp_path: Path, kind: str) -> None:
    with serving(lambda number, question: UNUSABLE[kind]) as server:
        one = judge(server, tmp_path)
        asked = [(WORDS, questions(0, items=5)[0])]
        assert np.isnan(one.grade(asked, quiet)[0]).all()
    assert one.usage().unusable == 5


def test_an_answer_that_ends_well_after_much_talk_is_used(tmp_path: Path) -> None:
    with serving(lambda number, question: Reply("Item [1] is clear. " * 40 + str([1, 0, 1, 0, 1]))) as server:
        grades = judge(server, tmp_path).grade([(WORDS, questions(0, items=5)[0])], quiet)
    np.testing.assert_array_equal(grades[0], [1, 0, 1, 0, 1])


def test_no_explanation_is_no_explanation(tmp_path: Path) -> None:
    with serving(lambda number, question: Reply("Explanation:   ")) as server:
        one = judge(server, tmp_path)
        words = one.explain(examples(2), quiet)
        asked = len(server.questions)
        assert [(found.text, found.failed) for found in words] == [("", True)] * 2
        assert np.isnan(one.grade([(words[0], questions(0)[0])], quiet)[0]).all()
        assert len(server.questions) == asked
    assert one.usage().unexplained == 2


def test_a_request_that_always_fails_is_left_out_and_the_others_count(tmp_path: Path) -> None:
    marked = questions(0)[0]
    poison = LANGUAGE.decode([int(marked.tokens[0, 5]), int(marked.tokens[0, 6]), int(marked.tokens[0, 7])])

    def script(number: int, question: str) -> Reply:
        return Reply(status=500) if poison in question else well(number, question)

    with serving(script) as server:
        one = judge(server, tmp_path)
        grades = one.grade(ASKED[:1], quiet)[0]
    assert np.isnan(grades[:5]).all()
    np.testing.assert_array_equal(grades[5:], RIGHT[0][5:])
    usage = one.usage()
    assert (usage.failed, usage.unusable) == (1, 5)


@pytest.mark.parametrize("status", [400, 413])
def test_prompts_that_a_server_will_never_take_end_nothing_however_often(tmp_path: Path, status: int) -> None:
    """Each of the first latent's three prompts is refused: the others count, in this run and in the next."""
    tokens = ASKED[0][1].tokens
    poison = [LANGUAGE.decode([int(number) for number in tokens[row, 5:8]]) for row in (0, 5, 10)]

    def script(number: int, question: str) -> Reply:
        return Reply(status=status) if any(part in question for part in poison) else well(number, question)

    with serving(script) as server:
        for _ in range(2):
            one = judge(server, tmp_path, ",max_retries=1")
            grades = one.grade(ASKED, quiet)
            assert np.isnan(grades[0]).all()
            np.testing.assert_array_equal(grades[1], RIGHT[1])
            assert one.usage().failed == 3


def test_an_empty_answer_is_asked_for_again_in_the_next_run(tmp_path: Path) -> None:
    with serving(lambda number, question: Reply(None)) as server:
        assert np.isnan(judge(server, tmp_path).grade(ASKED[:1], quiet)[0]).all()
        server.script = well
        np.testing.assert_array_equal(judge(server, tmp_path).grade(ASKED[:1], quiet)[0], RIGHT[0])


class Mute(LM):  # type: ignore[misc]
    """A model of the registry that keeps its answers to itself until the call returns, as some backends do."""

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        return ["[1, 0, 1, 0, 1]"] * len(requests)

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


def test_a_backend_that_calls_no_cache_hook_is_heard_too(tmp_path: Path) -> None:
    if "mute-in-tests" not in known():
        register_model("mute-in-tests")(Mute)
    asked = [(WORDS, questions(0, items=5)[0])]
    for requests, replayed in ((1, 0), (0, 1)):
        one = open_judge(Judging("mute-in-tests:", tmp_path), LANGUAGE)
        np.testing.assert_array_equal(one.grade(asked, quiet)[0], [1, 0, 1, 0, 1])
        usage = one.usage()
        assert usage is not None
        assert (usage.requests, usage.replayed, usage.failed) == (requests, replayed, 0)


def test_what_went_wrong_is_said_without_the_address(tmp_path: Path) -> None:
    with serving(lambda number, question: Reply(status=503)) as server, pytest.raises(JudgeError) as caught:
        judge(server, tmp_path, ",max_retries=1").grade(ASKED, quiet)
    assert "HTTP 503" in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    with pytest.raises(JudgeError) as gone:
        judge(server, tmp_path, ",max_retries=1").grade(ASKED, quiet)
    assert "127.0.0.1" not in str(gone.value)


def test_a_model_on_disk_that_changed_is_another_judge(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = identity(f"hf:pretrained={tmp_path}")
    assert identity(f"huggingface:pretrained={tmp_path}") == before
    (tmp_path / "model.safetensors").write_text("weights")
    assert identity(f"hf:pretrained={tmp_path}") != before


def test_a_server_that_dies_loses_no_answered_request(tmp_path: Path) -> None:
    def dying(number: int, question: str) -> Reply:
        return well(number, question) if number < 4 else Reply(drop=True)

    with serving(dying) as server:
        one = judge(server, tmp_path)
        with pytest.raises(JudgeError, match="run the same command again"):
            one.grade(ASKED, quiet)
        assert one.usage().requests == 4
        server.script, server.questions = well, []
        again = judge(server, tmp_path)
        grades = again.grade(ASKED, quiet)
        assert len(server.questions) == 9 - 4
    for found, right in zip(grades, RIGHT, strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "unknown judge"),
        ("local-chat-completions:model=m", "needs model=NAME and base_url=URL"),
        ("local-chat-completions:model", "is not name=value"),
        ("local-chat-completions:model=m,base_url=http://127.0.0.1:9/v1", "nothing answers at 127.0.0.1:9"),
        ("hf:pretrained=/does/not/exist", "judge hf:"),
        ("local-chat-completions:model=m,base_url=http://host:port/v1", "is not a URL"),
        ("local-chat-completions:model=m,base_url=localhost/v1", "is not a URL"),
        ("local-chat-completions:model=m,base_url=http://a/v1,price_in=free", "price_in=free is not a number"),
        ("local-chat-completions:model=m,base_url=http://a/v1,num_concurrent=many", "num_concurrent=many is not a"),
        ("vllm:pretrained=x", "needs the package vllm"),
    ],
)
def test_a_judge_that_cannot_work_is_refused_in_one_sentence(line: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        Spec.parse(line).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("[1, 0]", "[1, 0]"),
        ("<think>perhaps [0, 0], or</think>\n[1, 0]", "[1, 0]"),
        ("perhaps [0, 0], or</think>[1, 0]", "[1, 0]"),
        ("<think>perhaps [1, 0] but the second", ""),
        ("<THINKING>a</THINKING><thinking>b", ""),
        ("[1, 0]<think>or is it [0, 0]", "[1, 0]"),
        ("[THINK]hm[/THINK][1, 0]", "[1, 0]"),
        ("<|channel|>analysis<|message|>[0, 0]<|end|><|channel|>final<|message|>[1, 0]<|return|>", "[1, 0]"),
        ("<|channel|>analysis<|message|>perhaps [0, 0]", ""),
        ([{"type": "text", "text": "[1, 0]"}], ""),
        (None, ""),
    ],
)
def test_thoughts_are_no_answer(answer: object, said: str) -> None:
    assert prompts.spoken(answer) == said
    assert prompts.read_grades(answer, 2) == ([1, 0] if said else None)
    assert (prompts.read_explanation(answer) is None) == (not said)


def test_content_in_parts_is_one_answer(tmp_path: Path) -> None:
    """As some servers send it; parts that are no text are left out."""
    with serving() as server:
        plain = server.script
        server.script = lambda number, question: in_parts(plain(number, question))
        one = judge(server, tmp_path, ",price_in=2,price_out=10")
        words = one.explain(examples(), quiet)
        grades = one.grade([(words[0], asked) for _, asked in ASKED], quiet)
    assert [explanation.text for explanation in words] == ["the word w3"] * 3
    for found, right in zip(grades, RIGHT, strict=True):
        np.testing.assert_array_equal(found, right)


def in_parts(reply: Reply) -> Reply:
    said = str(reply.content)
    first, second = ({"type": "text", "text": part} for part in (said[:4], said[4:]))
    thought = {"type": "reasoning", "text": "maybe [0, 0, 0, 0, 0]"}
    return reply._replace(content=[first, {"type": "image_url"}, second, thought])


def test_a_kept_answer_that_cannot_be_read_is_asked_again(tmp_path: Path) -> None:
    with serving(lambda number, question: Reply("no list of grades")) as server:
        first = judge(server, tmp_path)
        assert np.isnan(first.grade(ASKED[:1], quiet)[0]).all()
        assert len(server.questions) == 3
        first.close()
        server.script = well
        again = judge(server, tmp_path)
        np.testing.assert_array_equal(again.grade(ASKED[:1], quiet)[0], RIGHT[0])
        assert len(server.questions) == 6
        once_more = judge(server, tmp_path)
        np.testing.assert_array_equal(once_more.grade(ASKED[:1], quiet)[0], RIGHT[0])
        assert len(server.questions) == 6, "what can be read is not asked again"


@pytest.mark.parametrize(
    ("more", "sent"),
    [("", None), (",key_env=MY_KEY", "Bearer other")],
)
def test_a_key_goes_only_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, sent: str | None
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("MY_KEY", "other")
    with serving() as server:
        for kind in ("local-chat-completions", "openai-chat-completions"):
            line = f"{kind}:model=m,base_url={server.url},max_retries=1{more}"
            one = open_judge(Judging(line, tmp_path / kind), LANGUAGE)
            one.explain(examples(1), quiet)
            one.close()
    assert len(server.authorizations) == 2
    assert set(server.authorizations) == {sent}
    with pytest.raises(BadInput, match="needs NO_KEY in the environment"):
        Spec.parse(f"local-chat-completions:model=m,base_url={server.url},key_env=NO_KEY").check()
    assert Spec.parse("openai-chat-completions:model=m").authorization == {"Authorization": "Bearer secret"}
    for kind in ("openai-chat-completions", "anthropic-chat", "sglang-generate"):
        for host in ("https://api.openai.com.evil.example", "http://api.openai.com", "https://other.example"):
            assert Spec.parse(f"{kind}:model=m,base_url={host}/v1/chat/completions").authorization == {}


def test_a_local_model_is_known_by_what_its_files_hold(tmp_path: Path) -> None:
    spec = Spec.parse(f"hf:pretrained={tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = spec.identity
    os.utime(tmp_path / "model.safetensors", (0, 0))
    assert spec.identity == before, "touched, and not changed"
    (tmp_path / "model.safetensors").write_bytes(b"another")
    assert spec.identity != before


def test_a_closed_judge_has_let_go_of_its_transcript(tmp_path: Path) -> None:
    with serving() as server:
        one = judge(server, tmp_path)
        one.explain(examples(1), quiet)
        one.close()
        with pytest.raises(sqlite3.ProgrammingError):
            one.explain(examples(1), quiet)
