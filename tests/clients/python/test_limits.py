"""Limits as a client meets them: a 429 that says what, why and until when, and the SDK's own retry."""

import time

import openai
import pytest

from programs import eventually

MESSAGES = [{"role": "user", "content": "Hello there"}]


@pytest.fixture
def as_user(proxies, connect):
    def client(user, **options):
        return connect(proxies("limits").v1, default_headers={"x-user-id": user}, **options)

    return client


def ask(client, model, **options):
    return client.chat.completions.create(model=model, messages=MESSAGES, **options)


def test_refusal_says_which_limit_and_until_when(as_user, user):
    client = as_user(user)
    ask(client, "gpt-4o-mini")
    with pytest.raises(openai.RateLimitError) as error:
        ask(client, "gpt-4o-mini")
    assert error.value.code == "rate_limit_exceeded" and error.value.type == "requests"
    assert '"pace"' in error.value.message and "1 s" in error.value.message
    headers = error.value.response.headers
    assert headers["retry-after"] == "1"
    assert headers["x-ratelimit-limit-requests"] == "1"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["ratelimit"].startswith('"pace";r=0')
    assert headers["ratelimit-policy"] == '"pace";q=1;w=1'
    # Nobody else's business.
    ask(as_user(user + "-other"), "gpt-4o-mini")


def test_refusal_costs_the_provider_nothing(as_user, user, simulator, http):
    client = as_user(user)
    ask(client, "gpt-4o-mini")
    before = http.get(simulator.url + "/__simulate/stats").json()
    with pytest.raises(openai.RateLimitError):
        ask(client, "gpt-4o-mini")
    assert http.get(simulator.url + "/__simulate/stats").json() == before


def test_sdk_retries_by_itself_and_succeeds(as_user, user):
    client = as_user(user, max_retries=3)
    ask(client, "gpt-4o-mini")
    started = time.monotonic()
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=MESSAGES)
    waited = time.monotonic() - started
    assert raw.parse().choices[0].message.content.startswith("Hello there ")
    # One wait, as long as `retry-after` said, was enough.
    assert raw.retries_taken == 1
    assert 0.9 <= waited < 5


def test_tokens(as_user, user):
    client = as_user(user)
    ask(client, "gpt-4.1", max_tokens=60, extra_headers={"x-simulate": "output_tokens=60"})
    with pytest.raises(openai.RateLimitError) as error:
        ask(client, "gpt-4.1")
    assert error.value.type == "tokens" and '"words"' in error.value.message
    headers = error.value.response.headers
    assert headers["x-ratelimit-limit-tokens"] == "40"
    # It used 67 of 40: the debt and the next request's estimate come back at 40 an hour.
    assert 3600 * 27 / 40 <= int(headers["retry-after"]) <= 3600 * 67 / 40


def test_tokens_of_a_stream_count_though_the_client_did_not_ask_for_them(as_user, user):
    client = as_user(user)
    options = {"max_tokens": 60, "stream": True}
    with ask(client, "gpt-4.1", **options, extra_headers={"x-simulate": "output_tokens=60"}) as stream:
        assert all(chunk.usage is None for chunk in stream)
    with pytest.raises(openai.RateLimitError):
        ask(client, "gpt-4.1")


def test_concurrency_is_held_by_a_stream_until_it_ends(as_user, user):
    client = as_user(user)
    slow = {"extra_headers": {"x-simulate": "tps=50; output_tokens=1000"}}
    with ask(client, "gpt-4o", stream=True, **slow) as stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError) as error:
            ask(client, "gpt-4o")
        assert '"streams"' in error.value.message
    # The stream was left early: its place has to come back.
    eventually("place after a hang-up", lambda: attempt(client), lambda got: got == "answered")
    assert attempt(client) == "answered"


def attempt(client):
    try:
        ask(client, "gpt-4o")
    except openai.RateLimitError:
        return "refused"
    return "answered"
