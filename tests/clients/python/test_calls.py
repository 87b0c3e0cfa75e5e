"""Every call of the SDK, against the provider itself and through the proxy: nothing may differ."""

import asyncio
import io
import json
import math
import struct
import wave
from enum import Enum

import pytest
from pydantic import BaseModel

MODEL = "gpt-4o-mini"
# The simulated provider repeats what it is told, up to 16 words: replies are known beforehand.
WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": WORDS}]}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
            "required": ["city", "days"],
        },
    },
}


class Mood(str, Enum):
    calm = "calm"
    stormy = "stormy"


class Report(BaseModel):
    title: str
    mood: Mood
    numbers: list[int]
    sure: bool


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def sound():
    """A tenth of a second of a tone, as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(n / 3))) for n in range(800)))
    return file.getvalue()


def test_chat(client):
    reply = client.chat.completions.create(**CHAT)
    assert reply.choices[0].message.content == WORDS
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == MODEL
    assert reply.usage.prompt_tokens == 4 + math.ceil(len(WORDS) / 4)
    assert reply.usage.completion_tokens == 16
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 16


def test_chat_with_several_choices_and_a_bound(client):
    reply = client.chat.completions.create(**CHAT, n=3, max_completion_tokens=2)
    assert [c.message.content for c in reply.choices] == ["one two"] * 3
    assert {c.finish_reason for c in reply.choices} == {"length"}


def test_stream_without_usage(client):
    with client.chat.completions.create(**CHAT, stream=True) as stream:
        chunks = list(stream)
    assert text_of(chunks) == WORDS
    assert all(len(chunk.choices) == 1 for chunk in chunks), "a chunk that nobody asked for"
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}])
def test_stream_with_other_options(client, options):
    with client.chat.completions.create(**CHAT, stream=True, stream_options=options) as stream:
        chunks = list(stream)
    assert text_of(chunks) == WORDS
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)


def test_stream_with_usage(client):
    with client.chat.completions.create(
        **CHAT, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *chunks, last = list(stream)
    assert text_of(chunks) == WORDS
    assert last.choices == [] and last.usage.completion_tokens == 16
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_stream_helper(client):
    with client.chat.completions.stream(**CHAT) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == WORDS == final.choices[0].message.content


def test_tools_and_their_result(client):
    messages = [{"role": "user", "content": "Berlin"}]
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Berlin", "days": 3}
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content.startswith("Berlin ")
    assert second.choices[0].message.tool_calls is None


def test_streamed_tool_calls(client):
    with client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Berlin"}],
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        stream=True,
    ) as stream:
        chunks = list(stream)
    deltas = [d for c in chunks for d in c.choices[0].delta.tool_calls or []]
    assert deltas[0].id.startswith("call_") and deltas[0].function.name == "get_weather"
    assert len(deltas) > 2
    arguments = "".join(d.function.arguments or "" for d in deltas)
    assert json.loads(arguments) == {"city": "Berlin", "days": 3}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_structured_output(client):
    reply = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "Weather"}], response_format=Report
    )
    parsed = reply.choices[0].message.parsed
    assert parsed == Report(title="Weather", mood=Mood.calm, numbers=[1], sure=True)


def test_json_object(client):
    reply = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": 'say "ü" in JSON'}],
        response_format={"type": "json_object"},
    )
    assert json.loads(reply.choices[0].message.content) == {"reply": 'say "ü" in JSON'}


def test_completions(client):
    reply = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=WORDS)
    assert reply.choices[0].text == WORDS
    with client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt=WORDS, stream=True
    ) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == WORDS
    assert all(chunk.usage is None for chunk in chunks)


def test_responses(client):
    reply = client.responses.create(model=MODEL, input=WORDS, instructions="Repeat.")
    assert reply.output_text == WORDS and reply.status == "completed"
    assert reply.usage.output_tokens == 16


def test_responses_stream(client):
    with client.responses.create(model=MODEL, input=WORDS, stream=True) as stream:
        events = list(stream)
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == WORDS == events[-1].response.output_text
    assert events[-1].type == "response.completed" and events[-1].response.usage.output_tokens == 16
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_responses_tools(client):
    tool = {"type": "function", "strict": True, **TOOL["function"]}
    reply = client.responses.create(model=MODEL, input="Berlin", tools=[tool])
    (call,) = reply.output
    assert call.type == "function_call" and json.loads(call.arguments)["city"] == "Berlin"


def test_embeddings(client):
    # Left to itself the SDK asks for base64 and unpacks it: the same numbers must come out.
    packed = client.embeddings.create(model="text-embedding-3-small", input=["red", "blue"])
    plain = client.embeddings.create(
        model="text-embedding-3-small", input=["red", "blue"], encoding_format="float"
    )
    assert [item.index for item in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert len(one.embedding) == 1536
        assert one.embedding == pytest.approx(other.embedding, abs=1e-7)
    assert packed.usage.prompt_tokens == plain.usage.prompt_tokens == 10


def test_embeddings_of_tokens(client):
    reply = client.embeddings.create(
        model="text-embedding-3-large", input=[[1, 2, 3], [4, 5]], dimensions=8
    )
    assert [len(item.embedding) for item in reply.data] == [8, 8]


def test_audio_upload(client):
    wav = sound()
    file = ("tone.wav", wav, "audio/wav")
    reply = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file)
    assert reply.text == f"Simulated transcript of tone.wav ({len(wav)} bytes)."
    text = client.audio.transcriptions.create(model="whisper-1", file=file, response_format="text")
    assert text == reply.text + "\n"


def test_audio_upload_larger_than_what_is_held(client):
    file = ("long.wav", bytes(3 << 20), "audio/wav")
    reply = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file)
    assert reply.text.startswith("Simulated transcript of long.wav (")


def test_audio_download(client):
    ask = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": WORDS}
    whole = client.audio.speech.create(**ask).read()
    assert whole.startswith(b"ID3") and len(whole) > 1000
    with client.audio.speech.with_streaming_response.create(**ask) as reply:
        assert reply.headers["content-type"] == "audio/mpeg"
        assert len(b"".join(reply.iter_bytes())) > 1000


def test_images(client):
    reply = client.images.generate(model="gpt-image-1", prompt="A road", n=2)
    assert [image.b64_json[:8] for image in reply.data] == ["iVBORw0K"] * 2
    edit = client.images.edit(
        model="gpt-image-1", image=("a.png", b"\x89PNG" + bytes(2000), "image/png"), prompt="Blue"
    )
    assert len(edit.data) == 1


def test_files_and_batches(client):
    lines = b'{"custom_id":"1"}\n' * 50
    file = client.files.create(file=("in.jsonl", lines), purpose="batch")
    assert (file.bytes, file.filename, file.purpose) == (len(lines), "in.jsonl", "batch")
    assert file.id in [known.id for known in client.files.list()]
    assert client.files.retrieve(file.id).id == file.id
    assert client.files.content(file.id).read() == lines
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert client.batches.retrieve(batch.id).input_file_id == file.id
    assert client.batches.cancel(batch.id).status == "cancelled"
    assert client.files.delete(file.id).deleted


def test_moderations(client):
    reply = client.moderations.create(model="omni-moderation-latest", input=["peace", "quiet"])
    assert [result.flagged for result in reply.results] == [False, False]


def test_models(client):
    ids = [model.id for model in client.models.list()]
    assert MODEL in ids and len(ids) == len(set(ids))
    assert client.models.retrieve(MODEL).id == MODEL


def test_paths_that_the_sdk_does_not_know(client):
    reply = client.post("/chat/completions", body={**CHAT, "invented": {"later": 1}}, cast_to=object)
    assert reply["choices"][0]["message"]["content"] == WORDS


def test_asynchronously(base_url, connect_async):
    async def calls():
        async with connect_async(base_url) as client:
            replies = await asyncio.gather(
                *(client.chat.completions.create(**CHAT) for _ in range(20))
            )
            assert {reply.choices[0].message.content for reply in replies} == {WORDS}
            stream = await client.chat.completions.create(**CHAT, stream=True)
            assert text_of([chunk async for chunk in stream]) == WORDS
            parsed = await client.chat.completions.parse(
                model=MODEL, messages=CHAT["messages"], response_format=Report
            )
            assert parsed.choices[0].message.parsed.mood is Mood.calm
            vectors = await client.embeddings.create(model="text-embedding-3-small", input="red")
            assert len(vectors.data[0].embedding) == 1536
            speech = await client.audio.speech.create(model="tts-1", voice="alloy", input="Hello")
            assert (await speech.aread()).startswith(b"ID3")
            text = await client.audio.transcriptions.create(
                model="whisper-1", file=("tone.wav", sound(), "audio/wav")
            )
            assert "tone.wav" in text.text
            reply = await client.responses.create(model=MODEL, input=WORDS, stream=True)
            last = [event async for event in reply][-1]
            assert last.response.output_text == WORDS

    asyncio.run(calls())
