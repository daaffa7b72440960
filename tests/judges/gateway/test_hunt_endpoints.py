"""Endpoints as public bug reports describe them, by kind: proxies of the environment, what the doctor promises, and the
words and the advice that each refusal gets. Where the inputs of that hunt lie beside the repository they run too."""

from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from judges import JudgeConfig, JudgeConfigError, JudgeUnreachable, make_judge
from judges.calibrate import main as calibrate
from judges.gateway.endpoint import Endpoint, key_fault
from judges.gateway.refusals import MAX_WORDS, advice, words_of
from judges.gateway.route import is_loopback, proxy_for
from judges.model.probe import picture
from rl.config import Config
from rl.doctor.judge import check_judge
from tests.fakes.scripted_judge import MODEL, Reply, Script, ScriptedJudge, all_of, always, judge_at
from tests.paths import REPOSITORY

pytestmark = pytest.mark.hunt

KEY = "sk-planted-4711"
HUNT = REPOSITORY / "../shared/cases/hunt"
PROXIES = [name for base in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (base, base.upper())]
# Lines of 80 columns that a terminal shows at once, less the prompt.
SCREEN_LINES = 22


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


def settings(url: str, **changes: Any) -> JudgeConfig:
    fields = {"base_url": url, "model": MODEL, "api_key_env": "TEST_JUDGE_KEY", "max_attempts": 1, **changes}
    return JudgeConfig(kind="openai", **fields)


def failure_of(script: Script, **changes: Any) -> str:
    """What a run says that asks an endpoint of this kind before it starts; it must not start."""
    with ScriptedJudge(script, answers_probe=False) as server:
        with pytest.raises(JudgeUnreachable) as error:
            make_judge(settings(server.url, **changes)).check_now()
        [made, asked] = check_judge(Config(judge=settings(server.url, **changes)))
    assert made.good, made.text
    assert (asked.good, asked.text) == (False, f"judge: {' '.join(str(error.value).split())}"), "as the run says it"
    assert screen_lines(str(error.value)) <= SCREEN_LINES
    return str(error.value)


def screen_lines(text: str) -> int:
    return sum(-(-max(1, len(line)) // 80) for line in text.splitlines())


def dead_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# Kind: proxies of the environment


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks://127.0.0.1:9", "nonsense::"])
def test_an_endpoint_of_this_machine_is_never_asked_through_a_proxy(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROXIES[:6]:
        monkeypatch.setenv(name, proxy)
    with ScriptedJudge(always("correct")) as server:
        judge = make_judge(settings(server.url))
        judge.check_now()
        assert [verdict.decision for verdict in all_of(judge_at(server), "Hepar")] == ["correct"]
        assert check_judge(Config(judge=settings(server.url)))[-1].good


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True), ("LOCALHOST.", True), ("judge.localhost", True), ("127.0.0.1", True), ("127.8.9.1", True),
        ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", True), ("10.0.0.1", False), ("example.org", False),
        ("localhost.example.org", False), ("127.0.0.1.example.org", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_is_known_in_every_writing(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("url", "environment", "variable"),
    [
        ("http://judge.example/v1", {}, None),
        ("http://judge.example/v1", {"HTTP_PROXY": "http://p:1"}, "HTTP_PROXY"),
        ("http://judge.example/v1", {"HTTP_PROXY": "http://p:1", "http_proxy": "q:2"}, "http_proxy"),
        ("https://judge.example/v1", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://judge.example/v1", {"HTTPS_PROXY": "p:1", "ALL_PROXY": "q:2"}, "HTTPS_PROXY"),
        ("https://judge.example/v1", {"ALL_PROXY": "http://q:2"}, "ALL_PROXY"),
        ("http://judge.example/v1", {"HTTP_PROXY": "p:1", "NO_PROXY": "other, .example"}, None),
        ("http://judge.example:80/v1", {"HTTP_PROXY": "p:1", "NO_PROXY": "judge.example:80"}, None),
        ("http://judge.example/v1", {"HTTP_PROXY": "p:1", "NO_PROXY": "*"}, None),
        ("http://10.1.2.3:8000/v1", {"HTTP_PROXY": "p:1", "no_proxy": "10.0.0.0/8"}, None),
        ("http://10.1.2.3:8000/v1", {"HTTP_PROXY": "p:1", "no_proxy": "192.168.0.0/16"}, "HTTP_PROXY"),
        ("http://[::1]:8000/v1", {"ALL_PROXY": "socks5://p:1"}, None),
        ("http://judge.example/v1", {"HTTP_PROXY": " "}, None),
    ],
)
def test_the_way_to_an_endpoint(url: str, environment: dict[str, str], variable: str | None) -> None:
    proxy = proxy_for(url, environment)
    assert (proxy.variable if proxy else None) == variable
    assert proxy is None or proxy.url.startswith("http://")


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("socks4://p:1", "scheme is 'socks4', expected http, https or socks5"),
        ("socks://user:hidden-word@p:1", "scheme is 'socks'"),
        ("http://p:port", "is no address"),
        ("http://user:hidden-word@:3128", "names no host"),
    ],
)
def test_a_proxy_that_cannot_work_is_told_when_the_judge_is_made(
    proxy: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(JudgeConfigError) as error:
        make_judge(settings("https://judge.example/v1"))
    assert words in str(error.value)
    assert "Unset ALL_PROXY, correct it, or add judge.example to NO_PROXY" in str(error.value)
    assert "hidden-word" not in str(error.value)
    [finding] = check_judge(Config(judge=settings("https://judge.example/v1")))
    assert (finding.good, finding.text) == (False, f"judge: {error.value}")
    monkeypatch.setenv("NO_PROXY", "judge.example")
    assert make_judge(settings("https://judge.example/v1")).name == f"openai:{MODEL}"


def test_a_socks_proxy_is_refused_where_its_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(JudgeConfigError, match="needs the package socksio, which is not installed"):
        proxy_for("https://judge.example/v1", {"ALL_PROXY": "socks5h://p:1"})


def test_a_distant_endpoint_is_asked_through_the_proxy_and_a_dead_proxy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ScriptedJudge(always("correct")) as proxy:  # it answers for every host
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        make_judge(settings("http://judge.example/v1")).check_now()
        assert proxy.num_probes == 1
    monkeypatch.setenv("HTTP_PROXY", f"http://user:hidden-word@127.0.0.1:{dead_port()}")
    with pytest.raises(JudgeUnreachable) as error:
        make_judge(settings("http://judge.example/v1")).check_now()
    assert "does not answer through HTTP_PROXY=http://127.0.0.1:" in str(error.value)
    assert "add the host to NO_PROXY" in str(error.value)
    assert "hidden-word" not in str(error.value)


# Kind: one advice for every refusal


def error_body(message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


def completion(finish_reason: str = "stop", **message: Any) -> bytes:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": None, **message}}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps(body).encode()


LONG = "This model's maximum context length is 512 tokens. However, you requested 900 tokens (max_tokens 400)"
SIZED = "--max-model-len"
REFUSALS = {
    "wrong key": (401, error_body(f"Incorrect API key provided: {KEY}"), r"provided: \[key\]'. Export a valid key in"),
    "no right": (403, error_body("Your country is not supported"), r"HTTP 403: 'Your country.*Export a valid key"),
    "quota": (429, error_body("You exceeded your current quota", code="insufficient_quota"), "quota or credit is used"),
    "credit": (402, error_body("Insufficient credits"), "quota or credit is used up"),
    "quota as 403": (403, error_body("Daily free quota exceeded"), "quota or credit is used up"),
    "pydantic": (422, b'{"detail": [{"loc": ["body", "nonce"], "msg": "extra fields not permitted"}]}',
        r"HTTP 422: 'body\.nonce: extra fields not permitted'"),
    "schema": (400, error_body("This response_format type is unavailable now"), "enforces response_format=json_schema"),
    "length": (400, error_body(LONG), SIZED),
    "length in another server": (400, b'{"object": "error", "message": "Prompt is too long", "code": 400}', SIZED),
    "too large": (413, b"<html><body><h1>413 Request Entity Too Large</h1></body></html>", "show_images=false"),
    "sampling": (400, error_body("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        "Correct judge.sampling: this model does not take max_tokens"),
    "images": (400, error_body("At most 0 image(s) may be provided in one prompt"), "judge.show_images=false"),
    "no such model": (404, error_body("The model `m` does not exist."), "Does the endpoint serve judge.model="),
    "no such path": (404, b'{"detail": "Not Found"}', r"HTTP 404: 'Not Found'. judge.base_url has no POST /chat"),
    "no such method": (405, b"", "HTTP 405 without a word. judge.base_url has no POST"),
    "out of order": (503, b"<html><style>x{}</style><title>No backend</title></html>", r"'No backend'.*is it ready"),
    "error in 200": (200, error_body("Provider returned error: upstream overloaded", code=502),
        "HTTP 200 with an error inside: 'Provider returned error: upstream overloaded'. The server itself fails"),
    "key error in 200": (200, error_body("No auth credentials found", code=401), "Export a valid key in TEST"),
    "credit error in 200": (200, error_body("Insufficient credits", code="402"), "quota or credit is used up"),
    "bare error in 200": (200, b'{"error": "model is loading"}', "an error inside: 'model is loading'"),
    "no choices": (200, b'{"id": "x", "object": "chat.completion", "choices": []}', "no choices, expected one"),
    "a list": (200, b'[{"x": 1}]', "HTTP 200 with an error inside"),
    "declined": (200, completion(refusal="I'm sorry, I cannot help."), "declined to answer: \"I'm sorry"),
    "reasoning parser": (200, completion(reasoning_content='{"nonce": "x"}'), "reasoning parser took the reply"),
    "reasoning parser, new name": (200, completion(reasoning="hm"), "reasoning holds 'hm': the server's reasoning p"),
    "thought to the limit": (200, completion("length", reasoning_content="hm"), "all tokens .* went into reasoning_c"),
    "tool": (200, completion("tool_calls", tool_calls=[{"id": "a", "type": "function",
        "function": {"name": "f", "arguments": "{}"}}]), "called a tool instead of answering"),
    "filter": (200, completion("content_filter", content=""), "content filter took the reply"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_each_refusal_is_told_in_the_endpoints_words_with_the_advice_that_fits(name: str) -> None:
    status, body, expected = REFUSALS[name]
    message = failure_of(lambda _: Reply(status=status, raw=body))
    assert expected in message or _matches(expected, message), message
    assert KEY not in message
    # No other advice beside it.
    advised = [one for one in ("Export a valid key", "is used up", SIZED, "vLLM does", "show_images") if one in message]
    assert len(advised) <= 1, message


def _matches(pattern: str, message: str) -> bool:
    return re.search(pattern, message, re.DOTALL) is not None


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("text/html", b"<!doctype html><html><body>Sign in</body></html>", "with a page instead .*: 'Sign in'"),
        ("text/event-stream", b'data: {"choices": []}\n\ndata: [DONE]\n\n', "with a stream instead"),
        ("text/plain", b"upstream connect error", "with a text instead .*: 'upstream connect error'"),
        (
            "application/json",
            b"<html>gateway of your hotel</html>",
            "unreadable response: JSONDecodeError: 'gateway of",
        ),
    ],
)
def test_what_is_no_json_is_told_by_its_first_words(kind: str, body: bytes, expected: str) -> None:
    assert _matches(expected, failure_of(lambda _: Reply(raw=body, headers={"content-type": kind})))


def test_a_refusal_inside_200_is_asked_once_and_an_outage_inside_200_again() -> None:
    for code, failure, calls in ((402, "refused", 1), (429, "unavailable", 3), (502, "unavailable", 3)):
        with ScriptedJudge(lambda _, code=code: Reply(raw=error_body("no", code=code))) as server:  # type: ignore[misc]
            [verdict] = all_of(judge_at(server), "Hepar")
        assert (verdict.failure, verdict.num_calls, verdict.decision) == (failure, calls, None)
        assert "'no'" in verdict.reason


def test_a_quota_per_minute_is_waited_for_and_one_of_the_account_is_not() -> None:
    minute = error_body("You exceeded your current quota, please check your plan and billing details", code=429)
    account = error_body("You exceeded your current quota", type="insufficient_quota", code=429)
    for body, status, failure, calls in (
        (minute, 429, "unavailable", 3),
        (minute, 200, "unavailable", 3),
        (account, 429, "refused", 1),
        (account, 200, "refused", 1),
    ):
        reply = Reply(status=status, raw=body)
        with ScriptedJudge(lambda _, reply=reply: reply) as server:  # type: ignore[misc]
            [verdict] = all_of(judge_at(server), "Hepar")
        assert (verdict.failure, verdict.num_calls) == (failure, calls), verdict.reason
        assert ("no waiting mends it" in verdict.reason) == (failure == "refused")


def test_every_second_reply_with_an_error_inside_costs_time_and_no_verdict() -> None:
    count = 0

    def script(body: dict[str, Any]) -> Reply:
        nonlocal count
        count += 1
        return Reply(raw=error_body("overloaded", code=429)) if count % 2 else always("incorrect")(body)

    with ScriptedJudge(script) as server:
        found = all_of(judge_at(server, max_attempts=14), *(f"organ {i}" for i in range(6)))
    assert [verdict.decision for verdict in found] == ["incorrect"] * 6


def test_an_address_without_v1_gets_that_advice() -> None:
    missing = Reply(status=404, raw=b'{"detail": "Not Found"}')
    with ScriptedJudge(lambda _: missing, models_status=404, answers_probe=False) as server:
        root = server.url.removesuffix("/v1")
        with pytest.raises(JudgeUnreachable, match=r"HTTP 404: 'Not Found'\. judge\.base_url usually ends in /v1"):
            make_judge(settings(root)).check_now()
        assert not check_judge(Config(judge=settings(root)))[-1].good


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h:1/v1 ", "holds a blank"), ("http://h:1/v1\n", "holds a blank or line end"),
        ("http://h:1/v1/chat/completions", "such as http://h:1/v1"), ("http://h:1/v1/models/", "such as http://h:1/v1"),
        ("http://h:1/openai?api-version=2", "expected an address without ? and #"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_completed_is_refused_before_it_is_asked(url: str, words: str) -> None:
    with pytest.raises(JudgeConfigError) as error:
        make_judge(settings(url))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (f"{KEY}\n", "ends with a line end"), (f"{KEY}\r", "a line end"), (f" {KEY}", "begins or ends with a blank"),
        (f"{KEY}\n{KEY}", "a line end inside"), (f"{KEY}–x", "not printable ASCII"), (f"{KEY}\x07x", "not printable"),
        ("", "which is not set"),
    ],
)  # fmt: skip
def test_a_key_that_no_header_can_carry_is_told_without_telling_it(
    key: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", key)
    with pytest.raises(JudgeConfigError) as error:
        make_judge(settings("http://127.0.0.1:9/v1"))
    assert words in str(error.value)
    assert "TEST_JUDGE_KEY" in str(error.value)
    assert KEY not in str(error.value)
    assert key_fault("TEST_JUDGE_KEY") == str(error.value)


def test_a_model_that_takes_no_images_is_found_before_the_run() -> None:
    def script(body: dict[str, Any]) -> Reply:
        content = body["messages"][-1]["content"]
        shown = isinstance(content, list) and any(part["type"] == "image_url" for part in content)
        return Reply(status=400, raw=error_body("not a multimodal model")) if shown else always("correct")(body)

    assert "set judge.show_images=false" in failure_of(script, show_images=True)
    with Image.open(io.BytesIO(picture().png)) as shown:
        assert (shown.convert("RGB").getpixel((5, 5)), shown.size) == ((128, 128, 128), (64, 64))
    with ScriptedJudge(script, answers_probe=False) as server:
        make_judge(settings(server.url)).check_now()
        assert len(server.requests) == 1


def test_lists_of_models_of_other_shapes_leave_the_word_to_the_question() -> None:
    listed: list[bytes] = [b'[{"id": "scripted-judge"}]', b'{"models": [{"name": "m"}]}', b"null", b"{}"]

    class Lister(ScriptedJudge):
        def _send(self, writer: Any, status: int, payload: bytes, headers: dict[str, str]) -> None:
            is_list = b'"object": "list"' in payload
            super()._send(writer, status, listed[0] if is_list else payload, headers)

    with Lister(always("correct")) as server:
        for count in range(len(listed)):
            make_judge(settings(server.url)).check_now()
            assert server.num_probes == count + 1
            listed.append(listed.pop(0))
        listed.insert(0, b'[{"id": "another"}]')
        with pytest.raises(JudgeUnreachable, match="does not serve"):
            make_judge(settings(server.url)).check_now()


def test_words_and_advice_survive_any_body() -> None:
    endpoint = Endpoint("http://h:1/v1", "m")
    deep: Any = "x"
    for _ in range(5000):
        deep = {"error": deep}
    bodies = ["", None, b"\xff\xfe", {}, [], {"error": None}, {"error": {"message": "m" * 9999}}, {"detail": [1, 2]}]
    for body in [*bodies, deep, {"msg": 5, "loc": "x"}, "\ud800", {"error": 0, "x": 1}]:
        words = words_of(body)
        assert isinstance(words, str)
        assert len(words) <= MAX_WORDS
        assert "\n" not in words
        for status in (*range(300, 600, 7), 401, 404, 429, 500):
            assert 10 < len(advice(status, words, endpoint)) < 200


# The inputs of the hunt


@pytest.fixture(scope="module")
def fake() -> Iterator[str]:
    script = HUNT / "fake_endpoint.py"
    if not script.is_file():
        pytest.skip(f"{script} is not there: these inputs are not part of the project")
    port = dead_port()
    server = subprocess.Popen([sys.executable, "-B", str(script), str(port)])
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=5).close()
                break
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        ("ok", 0, ""), ("nomodels", 0, ""), ("models_list", 0, ""), ("models_nodata", 0, ""), ("nousage", 0, ""),
        ("reasoning2", 0, ""), ("usagefloat", 0, ""), ("unicode", 0, ""),
        ("err200", 2, "Provider returned error: upstream overloaded"), ("htmlpost", 2, "a page instead"),
        ("sse", 2, "a stream instead"), ("e401", 2, "Export a valid key"), ("quota", 2, "is used up"),
        ("e422", 2, "extra fields not permitted"), ("ctxlen", 2, "--max-model-len"), ("noschema", 2, "vLLM does"),
        ("nomaxtokens", 2, "does not take max_tokens"), ("emptychoices", 2, "no choices"),
        ("reasoning", 1, "reasoning parser took the reply"), ("refusal", 1, "declined to answer"),
        ("toolcalls", 1, "called a tool"), ("filter", 1, "content filter"), ("contentnull", 1, "gives no text to read"),
        ("fence", 1, "does not keep to a JSON schema"), ("finisheos", 1, "finish_reason 'eos'"),
    ],
)  # fmt: skip
def test_the_given_endpoint_is_told_by_the_command(
    fake: str, mode: str, code: int, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"{fake}/{mode}/v1"
    settings_given = ["judge=openai", f"judge.base_url={url}", "judge.model=m", "judge.api_key_env=TEST_JUDGE_KEY"]
    cases = tmp_path / "cases.jsonl"
    cases.write_text(json.dumps({"question": "Which?", "reference": "Liver", "completion": "the hepatic organ, liver"}))
    command = [str(cases), *settings_given, "judge.max_attempts=1", "--out", str(tmp_path / "out.jsonl")]
    assert calibrate(command) == code
    shown = capfd.readouterr().err
    assert words in " ".join(shown.split())
    assert KEY not in shown
    assert code != 2 or screen_lines(shown) <= SCREEN_LINES
    [made, asked] = check_judge(Config(judge=settings(url, model="m")))
    assert (made.good, asked.good) == (True, code == 0)
