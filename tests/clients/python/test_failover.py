"""A provider that fails is the proxy's business: the client sees a reply, and how it came about."""

import openai
import pytest

WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
MESSAGES = [{"role": "user", "content": WORDS}]
ATTEMPTS = {
    "refused": ["nobody/refused", "alive/gpt-4o-mini"],
    "erroring": ["broken/erroring", "alive/gpt-4o-mini"],
    "both": ["nobody/both", "broken/both", "alive/gpt-4o-mini"],
}


def targets(headers):
    """Targets of all attempts in order, without repetitions at the same one."""
    tried = [attempt.split(";")[0] for attempt in headers["x-tollway-attempts"].split(", ")]
    return [name for n, name in enumerate(tried) if n == 0 or tried[n - 1] != name]


@pytest.mark.parametrize("model", ATTEMPTS)
def test_next_target_answers(proxies, connect, model):
    client = connect(proxies("failover").v1)
    raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES)
    reply = raw.parse()
    assert reply.choices[0].message.content == WORDS
    # The target has a model of its own.
    assert reply.model == "gpt-4o-mini"
    assert targets(raw.headers) == ATTEMPTS[model]
    assert raw.headers["x-tollway-attempts"].endswith(";200")


@pytest.mark.parametrize("model", ATTEMPTS)
def test_next_target_streams(proxies, connect, model):
    client = connect(proxies("failover").v1)
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=MESSAGES, stream=True
    )
    chunks = list(raw.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == WORDS
    assert targets(raw.headers) == ATTEMPTS[model]


@pytest.mark.parametrize(
    "fault", ["late_error=first", "malformed=first", "truncate=first", "reset=first", "body=garbage"]
)
def test_reply_that_breaks_before_its_first_token_is_tried_again(proxies, connect, fault):
    # The fault strikes every attempt alike, so what is seen is that there were more than one.
    client = connect(proxies("failover").v1)
    with pytest.raises(openai.APIStatusError) as error:
        with client.chat.completions.create(
            model="anything", messages=MESSAGES, stream=True, extra_headers={"x-simulate": fault}
        ) as stream:
            list(stream)
    assert error.value.status_code >= 500
    assert error.value.response.headers["x-tollway-attempts"].count("alive") > 1


@pytest.mark.parametrize(("model", "status"), [("hopeless", 502), ("failing", 500)])
def test_honest_error_when_nobody_is_left(proxies, connect, model, status):
    client = connect(proxies("failover").v1)
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(model=model, messages=MESSAGES)
    assert error.value.status_code == status
    assert error.value.body["type"] == "server_error" and error.value.body["message"]


def test_mistakes_of_the_client_are_not_tried_again(proxies, connect):
    client = connect(proxies("failover").v1)
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(
            model="both", messages=MESSAGES, extra_headers={"x-simulate": "status=400"}
        )
    # Two targets can't hear the header or don't answer; the one that refuses ends it.
    assert error.value.response.headers["x-tollway-attempts"].count(";400") == 1
