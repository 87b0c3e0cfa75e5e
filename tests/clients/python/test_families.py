"""Every SDK against every family of providers: none can tell which family it was."""

import base64
import math
import struct
import zlib
from typing import Literal

import httpx2
import pytest
from pydantic import BaseModel

import programs
from recorder import Recorder, Reply
from speakers import KEY, SPEAKERS, Wanted, image, image_at, pdf, text_part

FORMS = list(SPEAKERS)
# The simulated provider repeats what it is told, up to 16 words: replies are known beforehand.
WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
# What it is asked for, and answers as.
MODELS = {
    "chat": "gpt-4.1-mini",
    "responses": "gpt-4.1-mini",
    "messages": "claude-haiku-4-5",
    "generate": "gemini-2.5-flash",
}
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
TIME = {
    "name": "get_time",
    "description": "The time in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
MEDIA_TOKENS = 258


class Report(BaseModel):
    title: str
    mood: Literal["calm", "stormy"]
    numbers: list[int]
    sure: bool


def counted(*messages):
    """Tokens of a prompt, as the simulated provider counts them."""
    return sum(4 + math.ceil(len(text.encode()) / 4) for text in messages)


def png():
    """One red pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(params=FORMS)
def family(request):
    return request.param


def test_text(speaker, family):
    answer = speaker.ask(family, WORDS)
    assert (answer.text, answer.finish) == (WORDS, "stop")
    assert answer.model in (MODELS[family], family)
    assert (answer.usage.input, answer.usage.output) == (counted(WORDS), 16)
    assert not answer.calls and not answer.thoughts


def test_stream(speaker, family):
    answer = speaker.ask(family, WORDS, stream=True)
    assert "".join(answer.pieces) == answer.text == WORDS
    # Word by word, not all at once at the end.
    assert len(answer.pieces) == 16
    assert answer.finish == "stop"
    assert (answer.usage.input, answer.usage.output) == (counted(WORDS), 16)


@streamed
def test_system_prompt_and_several_turns(speaker, family, stream):
    system = "You are terse, and speak of the sea – 海."
    turns = speaker.user(text_part("First of all"))
    first = speaker.ask(family, turns, system=system, stream=stream)
    assert first.text.startswith("First of all ")
    turns = turns + first.said + speaker.user(text_part("Grüße, 東京"))
    second = speaker.ask(family, turns, system=system, stream=stream)
    assert second.text.startswith("Grüße, 東京 ") and second.finish == "stop"
    # Everything that was said is counted there, system prompt and all.
    assert second.usage.input == counted(system, "First of all", first.text, "Grüße, 東京")


@streamed
def test_bound(speaker, family, stream):
    answer = speaker.ask(family, WORDS, limit=3, stream=stream)
    assert (answer.text, answer.finish) == ("one two three", "length")
    assert answer.usage.output == 3


@streamed
def test_tools_and_their_results(speaker, family, stream):
    turns = speaker.user(text_part("Oslo"))
    first = speaker.ask(family, turns, tools=[WEATHER, TIME], simulate="calls=3", stream=stream)
    assert first.finish == "tools" and first.text == ""
    assert [(call.name, call.arguments) for call in first.calls] == [
        ("get_weather", {"city": "Oslo", "unit": "c"}),
        ("get_time", {"city": "Oslo"}),
        ("get_weather", {"city": "Oslo", "unit": "c"}),
    ]
    ids = [call.id for call in first.calls]
    # The older Gemini has none, and its SDK does without.
    assert len(set(ids)) == 3 or (speaker.form == family == "generate")
    turns = turns + first.said + speaker.results(first, ["sunny", "noon", "rainy"])
    second = speaker.ask(family, turns, tools=[WEATHER, TIME], stream=stream)
    assert second.finish == "stop" and not second.calls
    assert second.text.startswith("Oslo ")
    # And on, after a second round.
    turns = turns + second.said + speaker.user(text_part("Bergen"))
    third = speaker.ask(family, turns, tools=[WEATHER], stream=stream)
    turns = turns + third.said + speaker.results(third, ["foggy"])
    assert speaker.ask(family, turns, tools=[WEATHER], stream=stream).text.startswith("Bergen ")


@streamed
@pytest.mark.parametrize("choice", ["any", "none", "get_time"])
def test_forced_choice(speaker, family, choice, stream):
    answer = speaker.ask(family, "Oslo", tools=[WEATHER, TIME], choice=choice, stream=stream)
    called = {"any": ["get_weather"], "none": [], "get_time": ["get_time"]}[choice]
    assert [call.name for call in answer.calls] == called
    assert answer.finish == ("tools" if called else "stop")


@streamed
def test_structured_output(speaker, family, stream):
    answer = speaker.ask(family, "Weather", schema=Report, stream=stream)
    assert answer.parsed == Report(title="Weather", mood="calm", numbers=[1], sure=True)


@streamed
def test_image(speaker, family, stream):
    answer = speaker.ask(
        family, speaker.user(text_part("What is it?"), image(png())), stream=stream
    )
    assert answer.text.startswith("What is it? ")
    seen = answer.usage.input - counted("What is it?")
    assert seen == (MEDIA_TOKENS if family in ("messages", "generate") else 0)


def test_pdf(speaker, family):
    answer = speaker.ask(family, speaker.user(pdf(PDF), text_part("Sum it up")))
    assert answer.text.startswith("Sum it up ")
    seen = answer.usage.input - counted("Sum it up")
    assert seen == (MEDIA_TOKENS if family in ("messages", "generate") else 0)


def test_image_at_an_address(speaker, family):
    turns = speaker.user(image_at("https://example.com/a.png"), text_part("What is it?"))
    if family == "generate" != speaker.form:
        # Gemini reads from addresses of its own alone.
        with pytest.raises(speaker.Error) as error:
            speaker.ask(family, turns)
        assert status(error.value) == 400
        name = {"chat": "image_url", "responses": "input_image", "messages": "image"}[speaker.form]
        assert f"`{name}`" in error.value.message
        return
    answer = speaker.ask(family, turns)
    assert answer.text.startswith("What is it? ")


# Providers that think aloud; the simulated OpenAI doesn't.
@streamed
@pytest.mark.parametrize("family", ["messages", "generate"])
def test_thinking(speaker, family, stream):
    model = family + "-thinks"
    turns = speaker.user(text_part("Oslo"))
    first = speaker.ask(model, turns, think=True, stream=stream)
    assert len(first.thoughts.split()) == 8 and first.thoughts.startswith("Let me think:")
    assert first.text.startswith("Oslo ") and "Let me think" not in first.text
    assert (first.usage.output, first.usage.thinking) == (24, 8)
    # The provider takes its thought back only with its own signature.
    turns = turns + first.said + speaker.user(text_part("Bergen"))
    second = speaker.ask(model, turns, think=True, stream=stream)
    assert second.text.startswith("Bergen ")


@streamed
@pytest.mark.parametrize("family", ["messages", "generate"])
def test_thinking_between_tools(speaker, family, stream):
    model = family + "-thinks"
    turns = speaker.user(text_part("Oslo"))
    first = speaker.ask(model, turns, think=True, tools=[WEATHER, TIME], simulate="calls=2", stream=stream)
    assert first.thoughts and [call.name for call in first.calls] == ["get_weather", "get_time"]
    # Where the first call has to be given back with its thought, or its signature.
    turns = turns + first.said + speaker.results(first, ["sunny", "noon"])
    second = speaker.ask(model, turns, think=True, tools=[WEATHER, TIME], stream=stream)
    assert second.text.startswith("Oslo ") and second.thoughts
    assert "x-tollway-dropped" not in speaker.headers_of(model, think=True)


@pytest.mark.parametrize("family", ["chat", "responses"])
def test_thinking_that_is_not_shown(speaker, family):
    answer = speaker.ask(family + "-thinks", WORDS, think=True)
    assert (answer.text, answer.thoughts) == (WORDS, "")


def test_conversation_moves_from_family_to_family(speaker):
    turns = []
    for n, family in enumerate(["messages", "generate", "chat", "responses", "messages", "generate"]):
        turns = turns + speaker.user(text_part(f"Oslo {n}"))
        first = speaker.ask(family + "-thinks", turns, think=True, tools=[WEATHER])
        turns = turns + first.said + speaker.results(first, ["sunny"])
        second = speaker.ask(family + "-thinks", turns, think=True, tools=[WEATHER])
        assert second.text.startswith(f"Oslo {n} "), family
        turns = turns + second.said


@pytest.mark.parametrize("form", ["chat", "messages"])
def test_cached_input(speakers, form, user):
    """The two APIs in which a client can say what to cache."""
    speaker = speakers(form)
    long = f"{user} knows all of this. " * 40
    turns = [{"role": "user", "content": [
        {"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Why?"},
    ]}]
    written, read = (speaker.ask("messages", turns) for _ in range(2))
    assert written.usage.cached == 0
    assert written.usage.input == read.usage.input == counted(long + "Why?")
    assert 0 < read.usage.cached < read.usage.input


# What a client may ask for and a family lacks: told, if the answer is still one to the question.
DROPPED = {
    "chat": ({"seed": 7}, {"responses": "seed", "messages": "seed"}),
    "responses": ({"text": {"verbosity": "low"}}, {"messages": "text.verbosity", "generate": "text.verbosity"}),
    "messages": ({"metadata": {"user_id": "ann"}}, {"generate": "metadata.user_id"}),
    "generate": ({"top_k": 5}, {"chat": "generationConfig.topK", "responses": "generationConfig.topK"}),
}


def test_what_is_dropped_is_told(speaker, family):
    more, names = DROPPED[speaker.form]
    headers = speaker.headers_of(family, more=more)
    assert headers.get("x-tollway-dropped") == names.get(family)


# And refused, if it isn't.
REFUSED = {
    "chat": ({"n": 2}, ["responses", "messages"], "n"),
    "responses": ({"previous_response_id": "resp_1"}, ["chat", "messages", "generate"], "previous_response_id"),
    "messages": ({"stop_sequences": ["x"]}, ["responses"], "stop_sequences"),
    "generate": ({"candidate_count": 2}, ["responses", "messages"], "generationConfig.candidateCount"),
}


def test_what_changes_the_meaning_is_refused(speaker, family):
    more, families, name = REFUSED[speaker.form]
    if family not in families:
        speaker.headers_of(family, more=more)
        return
    with pytest.raises(speaker.Error) as error:
        speaker.headers_of(family, more=more)
    assert status(error.value) == 400
    assert f"`{name}`" in error.value.message and family in error.value.message


@pytest.mark.parametrize("form", ["messages", "generate"])
def test_count_of_tokens(speakers, form, family):
    speaker = speakers(form)
    count = speaker.count(family, WORDS)
    if form == family:
        assert count == counted(WORDS)
    else:
        # Nobody there to ask: an estimate. English words are a token or two each.
        assert 16 <= count <= 40


def test_models(speaker):
    models = speaker.models()
    for family in FORMS:
        assert family in models and family + "-thinks" in models


def test_key_that_may_not_use_a_model(connected):
    for form in FORMS:
        speaker = connected(form, key="tollway-test-key-2")
        assert speaker.ask("chat", WORDS).text == WORDS
        with pytest.raises(speaker.Error) as error:
            speaker.ask("messages", WORDS)
        assert status(error.value) == 403 and "messages" in error.value.message
        assert speaker.models() == ["chat", "chat-thinks"]


def test_wrong_key(connected):
    for form in FORMS:
        speaker = connected(form, key="tollway-test-key-11")
        with pytest.raises(speaker.Error) as error:
            speaker.ask("chat", WORDS)
        assert status(error.value) == 401 and "operator" in error.value.message


def status(error):
    return getattr(error, "status_code", None) or error.code


# As each vendor's documentation writes it.
ASKS = {
    "chat": ("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}),
    "responses": ("/v1/responses", {"model": "chat", "input": "Hi"}),
    "messages": (
        "/v1/messages",
        {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    ),
    "generate": ("/v1beta/models/chat:generateContent", {"contents": [{"parts": [{"text": "Hi"}]}]}),
}
CREDENTIALS = {
    "bearer": ({"authorization": f"Bearer {KEY}"}, ""),
    "x-api-key": ({"x-api-key": KEY}, ""),
    "x-goog-api-key": ({"x-goog-api-key": KEY}, ""),
    "in the query": ({}, f"?key={KEY}"),
    "nowhere": ({}, ""),
    "wrong in the query": ({}, "?key=tollway-test-key-11"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", CREDENTIALS)
def test_credentials_by_hand(proxies, http, form, place):
    path, body = ASKS[form]
    headers, query = CREDENTIALS[place]
    if form == "messages":
        headers = {**headers, "anthropic-version": "2023-06-01"}
    reply = http.post(proxies("families").url + path + query, json=body, headers=headers)
    if place in ("nowhere", "wrong in the query"):
        assert reply.status_code == 401
        shape = {"messages": ("type", "authentication_error"), "generate": ("status", "UNAUTHENTICATED")}
        name, value = shape.get(form, ("code", "invalid_api_key"))
        assert reply.json()["error"][name] == value
    else:
        assert reply.status_code == 200, reply.text


@pytest.fixture(scope="module")
def recorded():
    """A proxy whose providers all write down what they are sent."""
    recorder = Recorder()
    url = f"http://{recorder.address}"
    proxy = programs.proxy("families", UPSTREAM=url + "/v1", SIMULATOR=url)
    yield proxy, recorder
    proxy.stop()
    recorder.stop()


PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "generate": "/v1beta/models/gemini-2.5-flash:generateContent",
}
KEYS = {"messages": "x-api-key", "generate": "x-goog-api-key"}


@pytest.mark.parametrize("form", FORMS)
def test_key_in_the_query_goes_no_further(recorded, http, form, family):
    proxy, recorder = recorded
    recorder.reply = Reply(400, body=b'{"error":{"message":"no","type":"invalid_request_error"}}')
    recorder.requests.clear()
    path, body = ASKS[form]
    body = {**body, **({"model": family} if "model" in body else {})}
    reply = http.post(f"{proxy.url}{path.replace('chat:', family + ':')}?a=b&key={KEY}", json=body)
    assert reply.status_code == 400
    (sent,) = recorder.requests
    assert KEY not in f"{sent.target} {sent.headers} {sent.body}"


@pytest.mark.parametrize("form", FORMS)
def test_what_the_provider_gets(recorded, connected, form, family):
    proxy, recorder = recorded
    recorder.reply = Reply(400, body=b'{"error":{"message":"no","type":"invalid_request_error"}}')
    recorder.requests.clear()
    speaker = connected(form, url=proxy.url)
    turns = speaker.user(text_part("Look"), image(png()), pdf(PDF))
    with pytest.raises(speaker.Error):
        speaker.ask(family, turns, system="Be terse.", tools=[WEATHER])
    (sent,) = recorder.requests
    # Which version of Gemini's API a Google SDK asks for is its own business.
    assert (sent.method, sent.target.split("?")[0].replace("/v1/models/", "/v1beta/models/")) == ("POST", PATHS[family])
    # Its own key in its own place, and the client's nowhere.
    headers = {name.lower(): value for name, value in sent.headers}
    own = {KEYS.get(family, "authorization"): "sk-of-the-provider"}
    credentials = {"authorization", "x-api-key", "x-goog-api-key"} & set(headers)
    assert {name: headers[name].removeprefix("Bearer ") for name in credentials} == own
    assert KEY not in f"{sent.target} {sent.headers} {sent.body}"
    assert ("anthropic-version" in headers) == (family == "messages")
    body = sent.body.decode()
    for data in (png(), PDF):
        assert base64.b64encode(data).decode() in body or base64.urlsafe_b64encode(data).decode() in body
    for words in ("Be terse.", "get_weather", "Look", "application/pdf", "image/png"):
        assert words in body
    assert (f'"{MODELS[family]}"' in body) == (family != "generate")
