"""What the proxy has no reason to touch stays as it is, to the byte, in both directions.

Each request goes out twice, as written here and with no library's opinion: to the provider itself
and through the proxy. What the provider received and what the client got back have to be equal.
"""

import gzip
import http.client
import json
import urllib.parse

import pytest

import programs
from recorder import Recorder, Reply

# Of one connection only (RFC 9110, 7.6.1), or the sender's own.
OF_A_CONNECTION = {"connection", "keep-alive", "date", "host"}
FRAMING = {"content-length", "transfer-encoding"}
JSON = [("Content-Type", "application/json")]

ODD = rb"""
 {"temperature":1.0E+0 ,	"seed" : 123456789012345678901234567890, "top_p":0.10,"x":-0.0,"y":1e-7,
  "model":"gpt-4o-m\u0069ni", "messages":[{"role":"user","content":"h\u00e9llo \ud83d\ude00 / \/ \"q\"\t"}],
  "invented":{"b":[ ],"a":{},"a2":null,"\u0061":true}, "invented_twice":1, "invented_twice":2,"stream":false}
"""
CHAT = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello there"}]}'


def send(address, method, target, headers=(), body=b"", chunks=None):
    """One request as it is written; the reply as it comes: status, headers, bytes."""
    connection = http.client.HTTPConnection(address, timeout=programs.DEADLINE)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if chunks:
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(chunks, encode_chunked=True)
        else:
            if body or method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
        reply = connection.getresponse()
        return reply.status, reply.getheaders(), reply.read()
    finally:
        connection.close()


def plain(headers, without=OF_A_CONNECTION):
    """Headers by name, values of one name in their order."""
    found = {}
    for name, value in headers:
        name = name.lower()
        if name not in without and not name.startswith("x-tollway-"):
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture(scope="module")
def recorder():
    recorder = Recorder()
    yield recorder
    recorder.stop()


@pytest.fixture(scope="module", params=["bare", "full"])
def recorded(request, recorder):
    proxy = programs.proxy(request.param, UPSTREAM=f"http://{recorder.address}/v1")
    yield urllib.parse.urlsplit(proxy.url).netloc, request.param == "bare"
    proxy.stop()


@pytest.fixture
def both(recorder, recorded):
    """Sends to the recorder itself and through the proxy, and compares all that can be seen."""
    proxy, own_key = recorded

    def compare(method, target, headers=(), reply=None, *, reads=False, **rest):
        """`reads`: the proxy reads these bodies, so it may pack and frame them in another way."""
        recorder.reply = reply or Reply()
        recorder.requests.clear()
        direct = send(recorder.address, method, target, headers, **rest)
        through = send(proxy, method, target, headers, **rest)
        one, other = recorder.requests
        assert (other.method, other.target) == (one.method, one.target)
        assert other.body == one.body
        # What belongs to the client's credential goes no further than the credential itself.
        credential = {"authorization", "openai-organization", "openai-project"}
        without = OF_A_CONNECTION | (set() if own_key else credential)
        without |= {"accept-encoding"} if reads else set()
        assert plain(other.headers, without) == plain(one.headers, without)
        assert through[0] == direct[0]
        without = OF_A_CONNECTION | (FRAMING if reads else set())
        assert plain(through[1], without) == plain(direct[1], without)
        assert through[2] == direct[2]
        return through

    return compare


TARGETS = [
    "/v1/chat/completions/chatcmpl-1/messages?limit=2&order=asc",
    "/v1/files?",
    "/v1/files?a=1&a=2&=&b&c=%20+%2B&%F0%9F%98%80=%zz",
    "/v1/files/a%2Fb/%2e%2e/content",
    "/v1//files///x//",
    "/v1/files/./a/../b",
    "/v1/vector_stores/vs_1;v=1,2/(x)!$&'*+=:@~-_.",
    '/v1/x/{"a"}|^[]\\',
    "/v1/x?q=[a]{b}|^`\\'#",
    "/v1/%00%ff%C3%BC",
    "/v1/invented/in/2031",
    "/v1",
    "/v1/",
    "/v1/" + "a" * 4000,
]


@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
def test_paths_and_queries(both, target):
    both("GET", target.split("#")[0])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_methods(both, method):
    both(method, "/v1/invented")


def test_headers_of_the_request(both):
    both(
        "GET",
        "/v1/files",
        [
            ("Authorization", "Bearer sk-of-the-client"),
            ("X-Multi", "one"),
            ("x-MULTI", "two, three"),
            ("X-Multi", ""),
            ("X-Latin", "caf\xe9"),
            ("X-Spaces", "a  b\tc"),
            ("Cookie", "a=b; c=d"),
            ("Cookie", "e=f"),
            ("User-Agent", "tests/1 (odd; one)"),
            ("Accept", "*/*;q=0.1"),
            ("Accept-Encoding", "gzip, br;q=0.5"),
            ("OpenAI-Organization", "org-1"),
            ("OpenAI-Beta", "assistants=v2"),
            ("Idempotency-Key", "k"),
            ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("X-Forwarded-For", "192.0.2.1"),
            ("Range", "bytes=0-9"),
            ("If-None-Match", 'W/"x"'),
        ],
    )


def test_headers_of_one_connection_are_not_passed_on(recorder, recorded):
    recorder.reply = Reply(
        headers=(("Connection", "x-hop-reply"), ("X-Hop-Reply", "1"), ("Keep-Alive", "timeout=9"), ("X-Kept", "1"))
    )
    recorder.requests.clear()
    _, reply, _ = send(
        recorded[0],
        "GET",
        "/v1/files",
        [
            ("Connection", "X-Hop"),
            ("X-Hop", "1"),
            ("Proxy-Authorization", "Basic eDp5"),
            ("TE", "trailers"),
            ("X-Kept", "1"),
        ],
    )
    (seen,) = recorder.requests
    names = {name.lower() for name, _ in seen.headers}
    assert "x-kept" in names
    assert not names & {"x-hop", "proxy-authorization", "te"}
    names = {name.lower() for name, _ in reply}
    assert "x-kept" in names
    assert not names & {"x-hop-reply", "keep-alive"}


BODIES = {
    "odd": ODD,
    "plain": CHAT,
    "stream": CHAT[:-1] + b',"stream":true,"stream_options":{"include_usage":true,"z":[1.0]}}',
    "bytes that are no ASCII": '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"ü 😀 \u2028"}]}'.encode(),
    "large": CHAT[:-2] + b',{"role":"user","content":"' + b"a" * (3 << 20) + b'"}]}',
}


@pytest.mark.parametrize("body", BODIES)
def test_json_bodies(both, body):
    both("POST", "/v1/chat/completions", JSON, body=BODIES[body], reads=True)


def test_json_body_in_chunks(recorder, recorded):
    recorder.reply = Reply()
    recorder.requests.clear()
    chunks = [ODD[:100], ODD[100:101], ODD[101:]]
    send(recorded[0], "POST", "/v1/chat/completions", JSON, chunks=chunks)
    assert recorder.requests[0].body == ODD


def test_usage_of_a_stream_is_asked_for_and_nothing_else_is_changed(recorder, recorded):
    recorder.reply = Reply()
    recorder.requests.clear()
    body = ODD.replace(b'"stream":false', b'"stream" : true').replace(b"\n {", b"\n {", 1)
    send(recorded[0], "POST", "/v1/chat/completions", JSON, body=body)
    sent = recorder.requests[0].body
    added = b'"stream_options":{"include_usage":true},'
    assert added in sent and sent.replace(added, b"", 1) == body
    assert json.loads(sent)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("path", ["files", "uploads/u/parts", "invented", "fine_tuning/jobs"])
def test_bodies_that_are_nobodys_business(both, path):
    anything = bytes(range(256)) * 4000
    both("POST", f"/v1/{path}", [("Content-Type", "application/x-odd; a=b")], body=anything)
    both("POST", f"/v1/{path}", JSON, body=b"{not json")
    both("PUT", f"/v1/{path}", chunks=[b"a", b"bc", b"d" * 70_000])


def test_forms(both):
    head = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(range(256)) * 9000
    kind = [("Content-Type", 'multipart/form-data; boundary="b"')]
    for body in (head + file + b"\r\n--b--\r\n", file + b"\r\n" + head + b"--b--\r\n", b"--b--\r\n", b"no form"):
        both("POST", "/v1/audio/transcriptions", kind, body=body, reads=True)


REPLIES = {
    "created": Reply(201),
    "accepted": Reply(202),
    "no content": Reply(204),
    "redirect": Reply(307, (("Location", "/elsewhere?x=%20"),), b""),
    "not modified": Reply(304, (("ETag", 'W/"x"'),)),
    "teapot": Reply(418, (("Content-Type", "text/plain"),), b"short and stout"),
    "several of one header": Reply(headers=(("Set-Cookie", "a=1"), ("X-A", "1"), ("Set-Cookie", "b=2"), ("x-a", "2"))),
    "not ASCII": Reply(headers=(("X-Latin", "caf\xe9"), ("Content-Disposition", "attachment; filename=\"\xfc\""))),
    "packed": Reply(headers=(("Content-Encoding", "gzip"),), body=gzip.compress(b"content" * 100, mtime=0)),
    "in chunks": Reply(body=bytes(range(256)) * 30, chunked=True),
    "empty chunks": Reply(body=b"", chunked=True),
    "server": Reply(headers=(("Server", "odd/1"), ("Via", "1.1 other"), ("X-Request-Id", "r"), ("CF-Ray", "1"))),
}


@pytest.mark.parametrize("reply", REPLIES)
def test_replies(both, reply):
    both("GET", "/v1/files/f/content", reply=REPLIES[reply])


EVENTS = (
    b": a comment\n\nevent: odd\r\ndata: {\"x\":1}\r\n\r\nid: 7\nretry: 10\ndata: {\"choices\":[{\"index\":0,"
    b'"delta":{"content":"h\xc3\xa9"},"finish_reason":null,"new":1.0}]}\n\n\n\ndata:{"choices":[{"index":0,"delta":{},'
    b'"finish_reason":"stop"}]}\n\ndata: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,'
    b'"total_tokens":2}}\n\ndata: [DONE]\n\n: after the end\n\n'
)
CHAT_REPLIES = {
    "odd": Reply(body=b' {"choices" : [{"message":{"content":"\\u00fc"}}],\n"usage":{"prompt_tokens":1e0},"z":1.50}\n\n'),
    "in chunks": Reply(body=b'{"choices":[{"message":{"content":"abcdefghijkl"}}]}', chunked=True),
    "error": Reply(400, body=b'{"error":{"message":"no","type":"odd","param":null,"code":7,"more":[1.0]}}'),
    "error that is not JSON": Reply(422, (("Content-Type", "text/plain"),), b"no\xff"),
    "empty error": Reply(404, (), b""),
    "stream": Reply(headers=(("Content-Type", "text/event-stream"),), body=EVENTS, chunked=True),
}


@pytest.mark.parametrize("reply", CHAT_REPLIES)
def test_replies_that_are_read(both, reply):
    body = CHAT if reply != "stream" else BODIES["stream"]
    both("POST", "/v1/chat/completions", JSON, CHAT_REPLIES[reply], body=body, reads=True)


def test_credentials(recorder, recorded):
    recorder.reply = Reply()
    recorder.requests.clear()
    send(recorded[0], "GET", "/v1/files", [("Authorization", "Bearer sk-of-the-client"), ("X-Api-Key", "k")])
    (seen,) = recorder.requests
    keys = plain(seen.headers)
    if recorded[1]:
        assert keys["authorization"] == ["Bearer sk-of-the-client"] and keys["x-api-key"] == ["k"]
    else:
        assert keys["authorization"] == ["Bearer sk-of-the-provider"] and "x-api-key" not in keys


def test_tollway_keys_stay_inside(recorder):
    proxy = programs.proxy("keys", UPSTREAM=f"http://{recorder.address}/v1")
    try:
        recorder.reply = Reply()
        recorder.requests.clear()
        key = ("Authorization", "Bearer tollway-test-key-1")
        send(urllib.parse.urlsplit(proxy.url).netloc, "POST", "/v1/chat/completions", [key, *JSON], body=CHAT)
    finally:
        proxy.stop()
    (seen,) = recorder.requests
    assert plain(seen.headers)["authorization"] == ["Bearer sk-of-the-provider"]
    assert "tollway-test-key" not in str(seen.headers)


# The simulated provider's replies depend on its seed and the request's number: two of them that get
# the same requests give the same bytes, one of them asked directly and one through the proxy.
FORM = [("Content-Type", "multipart/form-data; boundary=b")]
SIMULATED = [
    ("POST", "/v1/chat/completions", JSON, CHAT),
    ("POST", "/v1/chat/completions", JSON, ODD),
    ("POST", "/v1/chat/completions", JSON, CHAT[:-1] + b',"n":3,"max_tokens":4}'),
    ("POST", "/v1/chat/completions", JSON, CHAT[:-1] + b',"stream":true}'),
    ("POST", "/v1/chat/completions", JSON, CHAT[:-1] + b',"stream":true,"n":2}'),
    ("POST", "/v1/chat/completions", JSON, BODIES["stream"]),
    ("POST", "/v1/chat/completions", [*JSON, ("x-simulate", "no_usage")], CHAT),
    ("POST", "/v1/chat/completions", [*JSON, ("x-simulate", "status=429; retry_after=3")], CHAT),
    ("POST", "/v1/chat/completions", [*JSON, ("x-simulate", "status=400")], CHAT),
    ("POST", "/v1/completions", JSON, b'{"model":"m","prompt":"Hello","stream":true}'),
    ("POST", "/v1/completions", JSON, b'{"model":"m","prompt":["Hello","there"]}'),
    ("POST", "/v1/responses", JSON, b'{"model":"m","input":"Hello","stream":true}'),
    ("POST", "/v1/responses", JSON, b'{"model":"m","input":[{"role":"user","content":"Hello"}]}'),
    ("POST", "/v1/embeddings", JSON, b'{"model":"m","input":["a","b"],"encoding_format":"base64"}'),
    ("POST", "/v1/embeddings", JSON, b'{"model":"m","input":[[1,2],[3]],"dimensions":5}'),
    ("POST", "/v1/moderations", JSON, b'{"input":"Hello"}'),
    ("POST", "/v1/images/generations", JSON, b'{"model":"gpt-image-1","prompt":"A road"}'),
    ("POST", "/v1/audio/speech", JSON, b'{"model":"tts-1","voice":"alloy","input":"Hello"}'),
    ("POST", "/v1/files", FORM, b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
     b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'),
    ("GET", "/v1/files", [], b""),
    ("GET", "/v1/models", [], b""),
    ("GET", "/v1/models/gpt-4o", [], b""),
    ("DELETE", "/v1/models/gpt-4o", [], b""),
    ("GET", "/v1/files/nothing-here", [], b""),
    ("GET", "/v1/invented?by=nobody", [], b""),
    ("HEAD", "/v1/models", [], b""),
]


@pytest.fixture(scope="module")
def twins():
    """A provider to ask directly, and its twin behind a proxy."""
    direct, hidden = programs.simulator("--seed", 7), programs.simulator("--seed", 7)
    proxy = programs.proxy("bare", UPSTREAM=hidden.v1)
    yield [urllib.parse.urlsplit(program.url).netloc for program in (direct, proxy)]
    for program in (proxy, direct, hidden):
        program.stop()


def test_simulated_provider(twins):
    differences = []
    for method, target, headers, body in SIMULATED:
        one, other = (send(address, method, target, headers, body) for address in twins)
        one, other = ((status, plain(got), content) for status, got, content in (one, other))
        if one != other:
            differences.append((method, target, body[:200], one, other))
    assert not differences
