"""What only one of the SDKs does, and what its API alone has, against every family of providers."""

import asyncio
import json
from decimal import Decimal

import anthropic
import openai
import pytest
from anthropic import beta_tool
from google.genai import types

from speakers import KEY, text_part
from test_families import FORMS, TIME, WEATHER, WORDS, counted

PRICES = {
    "chat": ("0.40", "1.60"),
    "responses": ("0.40", "1.60"),
    "messages": ("1", "5"),
    "generate": ("0.30", "2.50"),
}


@pytest.fixture(params=FORMS)
def family(request):
    return request.param


def test_cost(speaker, family):
    headers = speaker.headers_of(family)
    price_in, price_out = (Decimal(price) / 1_000_000 for price in PRICES[family])
    assert Decimal(headers["x-tollway-cost-usd"]) == counted("Hello") * price_in + 16 * price_out


def test_anthropics_tool_runner(speakers, family):
    asked = []

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: Its name.
        """
        asked.append(city)
        return "sunny"

    # By its beta path, with its beta headers. It asks the provider to hold the conversation, and goes
    # on without where that can't be.
    runner = speakers("messages").client.beta.messages.tool_runner(
        model=family, max_tokens=500, tools=[get_weather], messages=[{"role": "user", "content": "Oslo"}]
    )
    assert runner.until_done().content[0].text.startswith("Oslo ")
    assert asked == ["Oslo"]


def test_anthropics_results_with_an_error_and_an_image(speakers, family):
    speaker = speakers("messages")
    turns = speaker.user(text_part("Oslo"))
    tools = [WEATHER, TIME]
    first = speaker.ask(family, turns, tools=tools, simulate="calls=2")
    image = {"type": "image", "source": speaker.part("image", "iVBORw0KGgo=")["source"]}
    content = [
        {"type": "tool_result", "tool_use_id": first.calls[0].id, "content": "no such city", "is_error": True},
        {
            "type": "tool_result",
            "tool_use_id": first.calls[1].id,
            "content": [{"type": "text", "text": "noon"}, image],
        },
        {"type": "text", "text": "Well?"},
    ]
    turns = turns + first.said + [{"role": "user", "content": content}]
    second = speaker.ask(family, turns, tools=tools)
    assert second.text or second.calls


def test_anthropics_system_in_blocks(speakers, family):
    system = [
        {"type": "text", "text": "Be terse.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]
    answer = speakers("messages").ask(family, "Hello", system=system)
    assert answer.text.startswith("Hello ")
    # Joined by a line break, where there is one text for all of it.
    assert answer.usage.input - counted("Hello") in (counted("Be terse.Be kind."), counted("Be terse.\nBe kind."))


def test_googles_automatic_function_calling(speakers, family):
    asked = []

    def get_weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "sunny"

    reply = speakers("generate").client.models.generate_content(
        model=family, contents="Oslo", config=types.GenerateContentConfig(tools=[get_weather])
    )
    assert reply.text.startswith("Oslo ") and asked == ["Oslo"]


@pytest.mark.parametrize("model", ["", "-thinks"])
def test_googles_chats(speakers, family, model):
    chat = speakers("generate").client.chats.create(model=family + model)
    for word in ("Oslo", "Bergen"):
        assert chat.send_message(word).text.startswith(word + " ")
        streamed = "".join(chunk.text or "" for chunk in chat.send_message_stream(word))
        assert streamed.startswith(word + " ")


def test_googles_stream_as_an_array(proxies, http, family):
    url = f"{proxies('families').url}/v1beta/models/{family}:streamGenerateContent?key={KEY}"
    ask = {"contents": [{"parts": [{"text": WORDS}]}], "generation_config": {"max_output_tokens": 5}}
    reply = http.post(url, json=ask)
    assert reply.headers["content-type"].startswith("application/json")
    chunks = reply.json()
    texts = [part["text"] for chunk in chunks for part in chunk["candidates"][0]["content"].get("parts", ())]
    assert "".join(texts) == "one two three four five"
    assert chunks[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert chunks[-1]["usageMetadata"]["candidatesTokenCount"] == 5


def test_googles_own_schemas(speakers, family):
    """Types in capitals, `nullable`: Google's form of a schema, for arguments and for answers."""
    schema = types.Schema(
        type="OBJECT",
        properties={
            "city": types.Schema(type="STRING"),
            "days": types.Schema(type="ARRAY", items=types.Schema(type="INTEGER"), nullable=True),
        },
        required=["city", "days"],
    )
    declared = types.FunctionDeclaration(name="get_weather", description="The weather", parameters=schema)
    models = speakers("generate").client.models
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    reply = models.generate_content(model=family, contents="Oslo", config=config)
    (call,) = reply.function_calls
    assert (call.name, call.args) == ("get_weather", {"city": "Oslo", "days": [1]})
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=schema)
    reply = models.generate_content(model=family, contents="Oslo", config=config)
    assert json.loads(reply.text) == {"city": "Oslo", "days": [1]}


@pytest.mark.parametrize("form", ["chat", "responses"])
def test_openais_json_mode(speakers, form, family):
    wanted = {"type": "json_object"}
    more = {"response_format": wanted} if form == "chat" else {"text": {"format": wanted}}
    answer = speakers(form).ask(family, "Oslo, in JSON", more=more)
    if family == "messages":
        # Without a schema this model can but be asked to.
        assert answer.usage.input > counted("Oslo, in JSON")
    else:
        assert json.loads(answer.text) == {"reply": "Oslo, in JSON"}


@pytest.mark.parametrize("form", ["chat", "responses", "messages"])
def test_one_call_at_a_time(speakers, form, family):
    speaker = speakers(form)
    more = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    if form != "messages":
        more = {"parallel_tool_calls": False}
    wanted = {"tools": [WEATHER, TIME], "simulate": "calls=3", "more": more}
    calls = speaker.ask(family, "Oslo", **wanted).calls
    # Gemini has no word for it, which is told.
    assert len(calls) == (3 if family == "generate" else 1)
    dropped = speaker.headers_of(family, **wanted).get("x-tollway-dropped")
    name = "tool_choice.disable_parallel_tool_use" if form == "messages" else "parallel_tool_calls"
    assert (name in (dropped or "").split(", ")) == (family == "generate")


def test_openais_several_answers(speakers):
    client = speakers("chat").client
    messages = [{"role": "user", "content": WORDS}]
    for family in ("chat", "generate"):
        reply = client.chat.completions.create(model=family, messages=messages, n=3)
        assert [choice.message.content for choice in reply.choices] == [WORDS] * 3
        assert [choice.index for choice in reply.choices] == [0, 1, 2]
        texts = {0: "", 1: "", 2: ""}
        with client.chat.completions.create(model=family, messages=messages, n=3, stream=True) as stream:
            for chunk in stream:
                for choice in chunk.choices:
                    texts[choice.index] += choice.delta.content or ""
        assert list(texts.values()) == [WORDS] * 3


def test_openais_stream_without_usage(speakers, family):
    client = speakers("chat").client
    messages = [{"role": "user", "content": WORDS}]
    with client.chat.completions.create(model=family, messages=messages, stream=True) as stream:
        chunks = list(stream)
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks), "a chunk nobody asked for"
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]


def test_many_at_once(proxies, family):
    """Asynchronous clients, both vendors' at the same time: no reply is another one's."""
    url = proxies("families").url

    async def ask():
        chat = openai.AsyncOpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0)
        messages = anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0)

        async def one(n):
            turns = [{"role": "user", "content": f"number {n}"}]
            reply = await chat.chat.completions.create(model=family, messages=turns)
            return n, reply.choices[0].message.content

        async def other(n):
            turns = [{"role": "user", "content": f"number {n}"}]
            async with messages.messages.stream(model=family, max_tokens=99, messages=turns) as stream:
                return n, await stream.get_final_text()

        async with chat, messages:
            return await asyncio.gather(*(f(n) for n in range(20) for f in (one, other)))

    for n, text in asyncio.run(ask()):
        assert text.startswith(f"number {n} ")
