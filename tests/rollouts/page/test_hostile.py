"""The viewer against forged requests and a stranger's run, over real HTTP: everything is refused or shown as text."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path

import pytest

from rollouts.view import main
from tests.fakes.hostile_run import CLOSING, MARKUP, PROMPTS, SECRET, STUFFED, hostile_images, make_hostile_run
from tests.fakes.view_server import Served, serving

IMAGES = sorted(hostile_images(Path()))
STEPS_REFUSED = range(4, 11)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return make_hostile_run(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def served(run_dir):
    with serving(run_dir) as server:
        yield server


def quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def check_refused(served: Served, answer) -> None:
    """Refused, nothing of the outside in it, and the server still answers."""
    assert answer.status == 0 or answer.status >= 400
    assert SECRET.encode() not in answer.body
    assert b"root:" not in answer.body
    assert served.get("/api/about").status == 200


HOSTS = (
    "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}",
    "localhost.:{port}", "0.0.0.0:{port}",
    "[::1]:{port}", "127.1:{port}", "2130706433:{port}", "127.0.0.1:{port}@evil.example",
    "127.0.0.1:{port}, evil.example", "",
    "user@127.0.0.1:{port}",
)  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_is_not_ours_is_refused(served, host):
    check_refused(
        served,
        served.raw(f"GET /api/about HTTP/1.1\r\nHost: {host.format(port=served.port)}\r\nConnection: close\r\n\r\n"),
    )


RAW = {
    "no host": "GET / HTTP/1.0\r\n\r\n",
    "two hosts": "GET /api/about HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    "folded host": "GET /api/about HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n evil.example\r\nConnection: close\r\n\r\n",
    "absolute target": (
        "GET http://evil.example/api/about HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    ),
    "connect": "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n",
    "trace": "TRACE / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n",
    "put": "PUT /api/label HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "options": (
        "OPTIONS /api/label HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\nConnection:"
        " close\r\n\r\n"
    ),
    "websocket": (
        "GET /api/about HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ),
    "smuggled": (
        "POST /api/label HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 4\r\nTransfer-Encoding:"
        " chunked\r\n\r\n0\r\n\r\n"
    ),
    "huge header": "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-A: " + "a" * 100_000 + "\r\n\r\n",
    "many headers": "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n" + "X-A: a\r\n" * 20_000 + "\r\n",
    "huge target": "GET /" + "a" * 100_000 + " HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n",
    "long query": (
        "GET /api/groups?q=" + "a" * 6000 + " HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    ),
    "header injection": "GET /api/groups?q=a HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX\0: a\r\nConnection: close\r\n\r\n",
    "no http": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 40 + "\r\n\r\n",
    "foreign origin": (
        "GET /api/overview HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\nConnection:"
        " close\r\n\r\n"
    ),
    "null origin": "GET /api/overview HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: null\r\nConnection: close\r\n\r\n",
    "origin of another port": (
        "GET /api/overview HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:1\r\nConnection:"
        " close\r\n\r\n"
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_a_forged_request_is_refused(served, name):
    check_refused(served, served.raw(RAW[name].replace("{port}", str(served.port))))


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/overview", {"Sec_Fetch_Site": "cross-site"}),
        ("/api/session", {"Sec_Fetch_Site": "same-site"}),
        ("/static/app.js", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "script"}),
        ("/", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}),
        ("/api/groups", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}),
        (
            f"/media/{STUFFED}.png",
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
        ),
    ],
)
def test_what_another_site_asks_for_is_refused(served, path, headers):
    check_refused(served, served.get(path, **headers))


def test_a_link_on_another_site_may_lead_to_the_page_and_only_there(served):
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert served.get("/", **link).status == 200


PATHS = (
    "/../../secret.txt", "/static/../../../secret.txt", "/static/..%2f..%2fsecret.txt", "/%2e%2e/secret.txt",
    "/static/%2e%2e%2fapp.js",
    "/media/../config.yaml", "/media/..%2f..%2fsecret.png", "/media/%2e%2e%2fsecret.png", "/media/....//secret.png",
    "/media/secret.png",
    "/media/..\\..\\secret.png", "/media/" + "a4" * 32, "/media/" + "A0" * 32 + ".png", "/media/" + "a0" * 31 + ".png",
    "/media/%00.png",
    "//etc/passwd", "/etc/passwd", "/labels.jsonl", "/config.yaml", "/judge.sqlite", "/metrics.jsonl", "/static/app.py",
    "/static/server.py",
    "/static/%61pp.js", "/api/../static/app.js", "/docs", "/openapi.json", "/redoc", "/thumb/../../secret.png",
    "/media/" + "a4" * 32 + ".png/..",
    "/api/group?step=1&prompt=" + quoted("../../secret.txt"), "/api/group?step=-1&prompt=x",
    "/api/group?step=99999999999999999999&prompt=x",
    "/api/tokens?step=1&prompt=item-0000&side=7", "/api/tokens?step=1&prompt=item-0000&side=-1",
    "/api/groups?sort=" + quoted("g.step; DROP TABLE rows"),
    "/api/groups?q=" + quoted("is:'; DROP TABLE rows; --"), "/api/groups?q=" + quoted("step:1;DROP"),
    "/api/export?q=" + quoted("modality:none-of-this"),
    "/api/groups?offset=" + quoted("1; SELECT"),
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_or_query_that_leads_elsewhere_is_refused(served, path):
    check_refused(served, served.get(path))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("kind", ["media", "thumb"])
def test_a_file_that_is_no_safe_picture_is_refused(served, name, kind):
    check_refused(served, served.get(f"/{kind}/{name}.png"))


def test_a_picture_is_handed_on_without_anything_but_the_picture(served):
    answer = served.get(f"/media/{STUFFED}.png")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert answer.body.startswith(b"\x89PNG")
    assert b"tEXt" not in answer.body and b"acTL" not in answer.body and SECRET.encode() not in answer.body


CHANGE = json.dumps({"step": 1, "prompt": "item-0000", "sample": 0, "expected": "correct"}).encode()
POSTS = {
    "no token": {},
    "wrong token": {"X_Rounds_Token": "x" * 32},
    "no origin": {"Origin": None, "X_Rounds_Token": "{token}"},
    "foreign origin": {"Origin": "http://evil.example", "X_Rounds_Token": "{token}"},
    "form": {"Content_Type": "application/x-www-form-urlencoded", "X_Rounds_Token": "{token}"},
    "plain text": {"Content_Type": "text/plain", "X_Rounds_Token": "{token}"},
    "cross-site": {"Sec_Fetch_Site": "cross-site", "X_Rounds_Token": "{token}"},
    "no length": {"Content_Length": None, "Transfer_Encoding": "chunked", "X_Rounds_Token": "{token}"},
    "too long": {"Content_Length": "999999999", "X_Rounds_Token": "{token}"},
}


@pytest.mark.parametrize("name", POSTS)
def test_a_change_without_proof_that_the_page_asked_is_refused(served, run_dir, name):
    token = served.get("/api/session").json()["token"]
    headers = {key: value.replace("{token}", token) if value else value for key, value in POSTS[name].items()}
    check_refused(served, served.post("/api/label", CHANGE, **headers))
    assert (run_dir.parent / "secret.txt").read_text() == SECRET


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b"\xff\xfe", b"[" * 4000, b'{"step": 1, "prompt": "item-0000", "sample": 0, "expected": "<script>"}',
     b'{"step": "1", "prompt": "item-0000", "sample": 0, "expected": "correct"}',
     b'{"step": 1, "prompt": "../x", "sample": 0, "expected": null}',
     b'{"step": 1, "prompt": "item-0000", "sample": 99, "expected": "correct"}', CHANGE],
)  # fmt: skip
def test_a_label_that_is_none_or_would_follow_a_link_is_refused(served, run_dir, body):
    token = served.get("/api/session").json()["token"]
    check_refused(served, served.post("/api/label", body, X_Rounds_Token=token))
    assert (run_dir.parent / "secret.txt").read_text() == SECRET


def test_every_answer_forbids_scripts_sniffing_framing_and_storing(served):
    for path in (
        "/",
        "/api/about",
        "/static/app.js",
        f"/media/{STUFFED}.png",
        "/nowhere",
        "/api/group?step=9&prompt=x",
    ):
        headers = served.get(path).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'" and policy["trusted-types"] == "'none'"
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert "access-control-allow-origin" not in headers and "server" not in headers


@pytest.mark.parametrize("prompt", PROMPTS)
def test_markup_in_a_run_comes_as_json_text(served, prompt):
    answer = served.get(f"/api/group?step=3&prompt={quoted(prompt)}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    group = answer.json()
    assert (group["prompt"], group["question"], group["gold"]) == (prompt, MARKUP, CLOSING)
    assert all(
        frame["problem"]
        for frame in group["media"][0]["frames"]
        if frame["sha256"] not in IMAGES or "a4" in frame["sha256"]
    )


def test_steps_that_cannot_be_read_are_named_and_the_others_shown(served):
    overview = served.get("/api/overview").json()
    told = {problem["step"]: problem["text"] for problem in overview["problems"]}
    assert set(STEPS_REFUSED) <= set(told)
    assert (
        "is a link" in told[4]
        and "is a link" in told[5]
        and "no regular file" in told[6]
        and "schema version 99" in told[8]
    )
    assert [one["step"] for one in overview["steps"][0]] == [1, 2, 3]
    assert SECRET not in json.dumps(overview)


def test_tokens_of_a_linked_tokenizer_and_strange_ids_are_numbers(served):
    tokens = served.get(f"/api/tokens?step=3&prompt={quoted(PROMPTS[0])}").json()
    assert "is a link" in tokens["note"]
    assert tokens["completions"]["0"]["texts"] is None
    assert tokens["completions"]["0"]["logprobs"][0] is None


def test_an_exported_page_holds_no_markup_of_the_run(served):
    answer = served.get("/api/export?q=step:3")
    assert answer.status == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    page = answer.body.decode()
    assert page.count("<script") == 2 and page.count("</script") == 2
    assert "<img" not in page.lower() and "<svg" not in page.lower() and "<!--" not in page
    assert SECRET not in page


def test_the_terminal_names_what_it_refuses_and_prints_nothing_that_acts(run_dir, capsys):
    main([str(run_dir), "--text", "--limit", "0"])
    said = capsys.readouterr()
    assert "item-0000" in said.out
    assert not set(said.out + said.err) & set("\x1b\x07\u202e\u2066\u200b\U000e0041")


def test_port_in_use_is_one_line_that_says_what_to_do(served, run_dir, capsys):
    assert main([str(run_dir), "--port", str(served.port)]) == 2
    said = capsys.readouterr().err
    assert f"port {served.port} is in use" in said and "--port" in said and said.count("\n") == 1
