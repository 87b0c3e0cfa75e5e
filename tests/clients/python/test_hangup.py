"""A client that hangs up ends its provider's work, in whatever phase, and leaves nothing behind."""

import asyncio
import re

import httpx2
import openai
import pytest

import programs
from programs import eventually

MODEL = "gpt-4o-mini"
ENDLESS = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Hello there"}],
    "extra_headers": {"x-simulate": "tps=100; output_tokens=100000"},
}
SILENT = {**ENDLESS, "extra_headers": {"x-simulate": "stall=before"}}


@pytest.fixture(params=["bare", "full"])
def pair(request):
    """A provider and a proxy that no other test sends anything to."""
    provider = programs.simulator()
    proxy = programs.proxy(request.param, UPSTREAM=provider.v1)
    yield provider, proxy
    proxy.stop()
    provider.stop()


def stats(provider, http):
    return http.get(provider.url + "/__simulate/stats").json()


def nothing_is_left(pair, http):
    provider, proxy = pair
    seen = eventually(
        "the provider", lambda: stats(provider, http), lambda s: s["cancelled"] >= 1 and s["open_streams"] == 0
    )
    assert seen["requests"] == seen["cancelled"] == 1, seen

    def in_flight():
        metrics = http.get(proxy.admin + "/metrics").text
        return [float(n) for n in re.findall(r"^tollway_requests_in_flight(?:{.*})? (\S+)$", metrics, re.M)]

    assert eventually("requests in flight", in_flight, lambda found: found and not any(found))


def test_in_the_middle_of_a_stream(pair, connect, http):
    stream = connect(pair[1].v1).chat.completions.create(**ENDLESS, stream=True)
    for _, _chunk in zip(range(4), stream):
        pass
    assert stats(pair[0], http)["open_streams"] == 1
    stream.close()
    nothing_is_left(pair, http)


def test_by_cancelling_an_asynchronous_task(pair, connect_async, http):
    async def leave():
        async with connect_async(pair[1].v1) as client:
            begun = asyncio.Event()

            async def read():
                async for _chunk in await client.chat.completions.create(**ENDLESS, stream=True):
                    begun.set()

            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())
    nothing_is_left(pair, http)


def test_before_the_reply_begins(pair, connect, http):
    client = connect(pair[1].v1, timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(**SILENT, stream=True)
    nothing_is_left(pair, http)


def test_over_http2_while_another_stream_goes_on(pair, http):
    provider, proxy = pair
    ask = {k: v for k, v in ENDLESS.items() if k != "extra_headers"} | {"stream": True}
    with httpx2.Client(http1=False, http2=True, trust_env=False, timeout=20.0) as client:
        url = proxy.v1 + "/chat/completions"
        with client.stream("POST", url, json=ask, headers=ENDLESS["extra_headers"]) as left:
            next(left.iter_lines())
            assert left.http_version == "HTTP/2"
        # Only the stream was reset, not the connection.
        whole = client.post(url, json=ask)
        assert whole.text.endswith("data: [DONE]\n\n")
    seen = eventually(
        "the provider", lambda: stats(provider, http), lambda s: s["cancelled"] == 1 and s["open_streams"] == 0
    )
    assert seen["requests"] == 2
