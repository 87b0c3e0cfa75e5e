"""What goes wrong arrives as the SDK's own error classes, with a message a person can act on."""

import socket
import time

import openai
import pytest

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello there"}]}


def simulate(how):
    """One request answered in this way by the simulated provider."""
    return {"x-simulate": how}


@pytest.mark.parametrize("key", ["sk-not-known-here", "tollway-test-key-11"])
def test_wrong_key(proxies, connect, key):
    client = connect(proxies("keys").v1, api_key=key)
    with pytest.raises(openai.AuthenticationError) as error:
        client.chat.completions.create(**CHAT)
    assert error.value.code == "invalid_api_key"
    assert "operator" in error.value.message
    assert error.value.response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("sent", [{}, {"authorization": "Bearer"}, {"authorization": "Basic eDp5"}])
def test_no_key(proxies, http, sent):
    reply = http.post(proxies("keys").v1 + "/chat/completions", json=CHAT, headers=sent)
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"


def test_right_key(proxies, connect):
    client = connect(proxies("keys").v1, api_key="tollway-test-key-1")
    assert client.chat.completions.create(**CHAT).choices[0].message.content


def test_key_that_may_not_use_a_model(proxies, connect):
    client = connect(proxies("keys").v1, api_key="tollway-test-key-2")
    assert client.chat.completions.create(**CHAT).model == "gpt-4o-mini"
    with pytest.raises(openai.PermissionDeniedError) as error:
        client.chat.completions.create(**{**CHAT, "model": "gpt-4o"})
    assert error.value.param == "model" and "gpt-4o" in error.value.message
    assert [model.id for model in client.models.list()] == ["gpt-4o-mini"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_unknown_model(proxies, connect):
    client = connect(proxies("keys").v1, api_key="tollway-test-key-1")
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(**{**CHAT, "model": "gpt-4o-minni"})
    assert error.value.code == "model_not_found" and error.value.param == "model"
    assert "gpt-4o-minni" in error.value.message and "`gpt-4o-mini`" in error.value.message


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"model": 7}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"stream_options": []}, "stream_options"),
    ],
)
@pytest.mark.parametrize("policy", ["bare", "full"])
def test_wrong_types(proxies, connect, policy, wrong, param):
    client = connect(proxies(policy).v1)
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(**CHAT, extra_body=wrong)
    assert error.value.type == "invalid_request_error"
    assert error.value.param == param
    assert f"`{param}`" in error.value.message and "column" in error.value.message


def test_no_model(proxies, connect):
    client = connect(proxies("full").v1)
    with pytest.raises(openai.BadRequestError) as error:
        client.post("/chat/completions", body={"messages": CHAT["messages"]}, cast_to=object)
    assert error.value.param == "model"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":"\xff"}', b"[" * 100_000, b'{"a":1}x'])
def test_broken_json(proxies, http, body):
    reply = http.post(
        proxies("full").v1 + "/chat/completions",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error" and len(error["message"]) > 20


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("way", ["direct", "bare"])
def test_errors_of_the_provider(simulator, proxies, connect, way, status, kind):
    client = connect((simulator if way == "direct" else proxies(way)).v1)
    with pytest.raises(kind) as error:
        client.chat.completions.create(**CHAT, extra_headers=simulate(f"status={status}"))
    assert error.value.status_code == status
    assert error.value.body["message"] and error.value.body["type"]


def test_quota_of_the_provider(proxies, connect):
    client = connect(proxies("bare").v1)
    with pytest.raises(openai.RateLimitError) as error:
        client.chat.completions.create(**CHAT, extra_headers=simulate("quota"))
    assert error.value.code == "insufficient_quota"


def test_retry_after_of_the_provider_reaches_the_client(proxies, connect):
    client = connect(proxies("bare").v1)
    with pytest.raises(openai.RateLimitError) as error:
        client.chat.completions.create(
            **CHAT, extra_headers=simulate("status=429; retry_after=7; retry_after_ms=6500")
        )
    assert error.value.response.headers["retry-after"] == "7"
    assert error.value.response.headers["retry-after-ms"] == "6500"


def test_provider_that_sends_garbage(proxies, connect):
    client = connect(proxies("bare").v1)
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(**CHAT, extra_headers=simulate("status=502; body=garbage"))
    assert error.value.status_code == 502
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(**CHAT, extra_headers=simulate("body=garbage"))
    assert "valid JSON" in error.value.body["message"]


def test_provider_that_breaks_the_connection(proxies, connect):
    client = connect(proxies("bare").v1)
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(**CHAT, extra_headers=simulate("reset=before"))
    assert error.value.status_code == 502 and error.value.body["type"] == "server_error"


def test_provider_that_is_slow(proxies, connect):
    client = connect(proxies("impatient").v1)
    started = time.monotonic()
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(**CHAT, extra_headers=simulate("stall=before"))
    assert error.value.status_code == 504
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("fault", ["stall=after:3", "reset=after:3", "truncate=after:3", "late_error=after:3"])
def test_stream_that_breaks_in_the_middle(proxies, connect, fault):
    client = connect(proxies("impatient").v1)
    text = ""
    with pytest.raises(openai.APIError) as error:
        with client.chat.completions.create(
            **CHAT, stream=True, extra_headers=simulate(fault)
        ) as stream:
            for chunk in stream:
                text += chunk.choices[0].delta.content or ""
    # What had come before is there, and no invented end behind it.
    assert text.startswith("Hello there ") and len(text.split()) == 3
    # Told by an event of the stream, in OpenAI's shape; a mere broken connection would have no body.
    assert error.value.body["message"] and error.value.body["type"]


def test_client_that_does_not_wait(proxies, connect):
    client = connect(proxies("bare").v1, timeout=0.1)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(**CHAT, extra_headers=simulate("stall=before"))


def test_nobody_there(connect):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        client = connect("http://127.0.0.1:%d/v1" % holder.getsockname()[1])
        with pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(**CHAT)


def test_giant_body(proxies, http):
    # The answer comes though the client is still sending.
    limit = 32 << 20
    reply = http.post(
        proxies("bare").v1 + "/chat/completions",
        content=b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"' + bytes(limit),
        headers={"content-type": "application/json"},
    )
    assert reply.status_code == 413
    assert reply.json()["error"]["type"] == "invalid_request_error"
