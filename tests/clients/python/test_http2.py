"""HTTP/2 without TLS, by prior knowledge."""

import asyncio

import httpx2
import pytest

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello there"}]}


@pytest.fixture
def h2():
    with httpx2.Client(http1=False, http2=True, trust_env=False, timeout=20.0) as client:
        yield client


@pytest.mark.parametrize("policy", ["bare", "full"])
def test_sdk_over_http2(proxies, connect, h2, policy):
    client = connect(proxies(policy).v1, http_client=h2)
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    assert raw.http_response.http_version == "HTTP/2"
    assert raw.parse().choices[0].message.content.startswith("Hello there ")
    with client.chat.completions.create(**CHAT, stream=True) as stream:
        assert "Hello there " in "".join(c.choices[0].delta.content or "" for c in stream)
    speech = client.audio.speech.create(model="tts-1", voice="alloy", input="Hello")
    assert speech.read().startswith(b"ID3")
    big = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", bytes(2 << 20)))
    assert "a.wav" in big.text


def test_many_at_once_on_one_connection(proxies):
    url = proxies("full").v1 + "/chat/completions"

    async def ask():
        # Not by threads: this client's frames get mixed up then.
        async with httpx2.AsyncClient(http1=False, http2=True, trust_env=False, timeout=20.0) as h2:
            await h2.post(url, json=CHAT)
            asked = (h2.post(url, json={**CHAT, "stream": True}) for _ in range(60))
            return await asyncio.gather(*asked)

    replies = asyncio.run(ask())
    assert {(r.status_code, r.http_version) for r in replies} == {(200, "HTTP/2")}
    assert all(r.text.endswith("data: [DONE]\n\n") for r in replies)


def test_errors(proxies, h2):
    reply = h2.post(proxies("full").v1 + "/chat/completions", content=b"{")
    assert (reply.status_code, reply.http_version) == (400, "HTTP/2")
    assert reply.json()["error"]["type"] == "invalid_request_error"
