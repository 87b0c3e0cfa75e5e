"""The vendors' SDKs behind one face: what a test says in one way, each of them says in its own.

Nothing here is the SDKs' work done for them: conversations are kept as each SDK gave them, streams
are put together by its own helpers, schemas are its own models.
"""

import base64
import json
from dataclasses import dataclass, field

import anthropic
import openai
from google import genai
from google.genai import types

KEY = "tollway-test-key-1"


@dataclass
class Call:
    id: str | None
    name: str
    arguments: dict


@dataclass
class Usage:
    """As billed: all of the input, however it was read, and all of the output, thoughts included."""

    input: int
    output: int
    cached: int = 0
    thinking: int = 0


@dataclass
class Answer:
    text: str
    #: "stop", "length", "tools" or "filtered"
    finish: str
    model: str
    usage: Usage
    #: Goes into the conversation as it is.
    said: list
    calls: list[Call] = field(default_factory=list)
    thoughts: str = ""
    parsed: object = None
    #: The text as a stream brought it.
    pieces: list[str] = field(default_factory=list)


@dataclass
class Wanted:
    """What is asked for beside the conversation."""

    system: str | None = None
    tools: list[dict] = field(default_factory=list)
    #: "any", "none", or a tool's name
    choice: str | None = None
    schema: type | None = None
    think: bool = False
    limit: int | None = 1000
    #: How the simulated provider is to answer this one.
    simulate: str | None = None
    stream: bool = False
    #: Fields of the client's own API.
    more: dict = field(default_factory=dict)


def text_part(text):
    return ("text", text)


def image(data):
    return ("image", base64.b64encode(data).decode())


def image_at(url):
    return ("image_url", url)


def pdf(data):
    return ("pdf", base64.b64encode(data).decode())


class Speaker:
    """One SDK; `turns` below are what `user`, `results` and an answer's `said` gave."""

    form: str
    #: The SDK's class of all errors that have a status.
    Error: type

    def ask(self, model, turns, **wanted):
        if isinstance(turns, str):
            turns = self.user(text_part(turns))
        wanted = Wanted(**wanted)
        return (self.streamed if wanted.stream else self.whole)(model, turns, wanted)


class OpenAiSpeaker(Speaker):
    Error = openai.APIStatusError

    def __init__(self, url, key=KEY, **options):
        options = {"max_retries": 0, "timeout": 20.0, **options}
        self.client = openai.OpenAI(base_url=url + "/v1", api_key=key, **options)

    def close(self):
        self.client.close()

    def models(self):
        return [model.id for model in self.client.models.list()]

    def headers_of(self, model, **wanted):
        options = self.options(model, self.user(text_part("Hello")), Wanted(**wanted))
        return self.api.with_raw_response.create(**options).headers

    def id_of_request(self, model):
        return self.api.create(**self.options(model, self.user(text_part("Hello")), Wanted()))._request_id


class Chat(OpenAiSpeaker):
    form = "chat"

    @property
    def api(self):
        return self.client.chat.completions

    def user(self, *parts):
        return [{"role": "user", "content": [self.part(*part) for part in parts]}]

    @staticmethod
    def part(kind, value):
        match kind:
            case "text":
                return {"type": "text", "text": value}
            case "image":
                return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + value}}
            case "image_url":
                return {"type": "image_url", "image_url": {"url": value}}
            case "pdf":
                data = "data:application/pdf;base64," + value
                return {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}

    def results(self, answer, results):
        return [{"role": "tool", "tool_call_id": call.id, "content": result} for call, result in zip(answer.calls, results)]

    def options(self, model, turns, wanted):
        system = [{"role": "system", "content": wanted.system}] if wanted.system else []
        options = {"model": model, "messages": system + turns, **wanted.more}
        if wanted.tools:
            options["tools"] = [{"type": "function", "function": {**tool, "strict": True}} for tool in wanted.tools]
        if wanted.choice:
            named = {"type": "function", "function": {"name": wanted.choice}}
            options["tool_choice"] = {"any": "required", "none": "none"}.get(wanted.choice, named)
        if wanted.think:
            options["reasoning_effort"] = "low"
        if wanted.limit:
            options["max_completion_tokens"] = wanted.limit
        if wanted.simulate:
            options["extra_headers"] = {"x-simulate": wanted.simulate}
        if wanted.schema:
            options["response_format"] = wanted.schema
        return options

    def whole(self, model, turns, wanted):
        ask = self.api.parse if wanted.schema else self.api.create
        return self.answer(ask(**self.options(model, turns, wanted)))

    def streamed(self, model, turns, wanted):
        options = self.options(model, turns, wanted)
        pieces = []
        with self.api.stream(**options, stream_options={"include_usage": True}) as stream:
            try:
                for event in stream:
                    if event.type == "content.delta" and event.delta:
                        pieces.append(event.delta)
                return self.answer(stream.get_final_completion(), pieces)
            except openai.LengthFinishReasonError as error:
                # What this helper makes of a bound that was met.
                return self.answer(error.completion, pieces)

    def answer(self, reply, pieces=()):
        (choice,) = reply.choices
        message = choice.message
        calls = [Call(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or []]
        usage = reply.usage
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        finish = {"tool_calls": "tools", "content_filter": "filtered"}.get(choice.finish_reason, choice.finish_reason)
        said = message.model_dump(exclude_none=True, exclude={"parsed"})
        for call in said.get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)
        return Answer(
            text=message.content or "",
            finish=finish,
            model=reply.model,
            usage=Usage(
                usage.prompt_tokens,
                usage.completion_tokens,
                (usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens) or 0,
                (usage.completion_tokens_details and usage.completion_tokens_details.reasoning_tokens) or 0,
            ),
            said=[said],
            calls=calls,
            thoughts=getattr(message, "reasoning_content", None) or "",
            parsed=getattr(message, "parsed", None),
            pieces=list(pieces),
        )

    def pieces(self, model, text, **wanted):
        options = self.options(model, self.user(text_part(text)), Wanted(**wanted))
        with self.api.create(**options, stream=True) as stream:
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content


class Responses(OpenAiSpeaker):
    form = "responses"

    @property
    def api(self):
        return self.client.responses

    def user(self, *parts):
        return [{"role": "user", "content": [self.part(*part) for part in parts]}]

    @staticmethod
    def part(kind, value):
        match kind:
            case "text":
                return {"type": "input_text", "text": value}
            case "image":
                return {"type": "input_image", "image_url": "data:image/png;base64," + value, "detail": "auto"}
            case "image_url":
                return {"type": "input_image", "image_url": value, "detail": "auto"}
            case "pdf":
                data = "data:application/pdf;base64," + value
                return {"type": "input_file", "filename": "a.pdf", "file_data": data}

    def results(self, answer, results):
        pairs = zip(answer.calls, results)
        return [{"type": "function_call_output", "call_id": call.id, "output": result} for call, result in pairs]

    def options(self, model, turns, wanted):
        options = {"model": model, "input": turns, "store": False, **wanted.more}
        if wanted.system:
            options["instructions"] = wanted.system
        if wanted.tools:
            options["tools"] = [{"type": "function", **tool, "strict": True} for tool in wanted.tools]
        if wanted.choice:
            named = {"type": "function", "name": wanted.choice}
            options["tool_choice"] = {"any": "required", "none": "none"}.get(wanted.choice, named)
        if wanted.think:
            options["reasoning"] = {"effort": "low", "summary": "auto"}
            options["include"] = ["reasoning.encrypted_content"]
        if wanted.limit:
            options["max_output_tokens"] = wanted.limit
        if wanted.simulate:
            options["extra_headers"] = {"x-simulate": wanted.simulate}
        if wanted.schema:
            options["text_format"] = wanted.schema
        return options

    def whole(self, model, turns, wanted):
        ask = self.api.parse if wanted.schema else self.api.create
        return self.answer(ask(**self.options(model, turns, wanted)))

    def streamed(self, model, turns, wanted):
        with self.api.stream(**self.options(model, turns, wanted)) as stream:
            pieces, numbers = [], []
            for event in stream:
                numbers.append(event.sequence_number)
                if event.type == "response.output_text.delta":
                    pieces.append(event.delta)
            assert numbers == list(range(len(numbers)))
            # The helper knows one end alone, the good one.
            final = event.response if event.type == "response.incomplete" else stream.get_final_response()
            return self.answer(final, pieces)

    def answer(self, reply, pieces=()):
        calls = [Call(i.call_id, i.name, json.loads(i.arguments)) for i in reply.output if i.type == "function_call"]
        reasoning = [item for item in reply.output if item.type == "reasoning"]
        usage = reply.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        reason = reply.incomplete_details and reply.incomplete_details.reason
        finish = {"max_output_tokens": "length", "content_filter": "filtered"}.get(reason, reason)
        assert (finish is None) == (reply.status == "completed")
        said = [item.model_dump(exclude_none=True, exclude={"parsed", "parsed_arguments"}) for item in reply.output]
        for item in said:
            for part in item.get("content") or ():
                part.pop("parsed", None)
        return Answer(
            text=reply.output_text,
            finish=finish or ("tools" if calls else "stop"),
            model=reply.model,
            usage=Usage(
                usage.input_tokens,
                usage.output_tokens,
                usage.input_tokens_details.cached_tokens,
                usage.output_tokens_details.reasoning_tokens,
            ),
            said=said,
            calls=calls,
            thoughts="".join(part.text for item in reasoning for part in item.summary),
            parsed=getattr(reply, "output_parsed", None),
            pieces=list(pieces),
        )

    def pieces(self, model, text, **wanted):
        options = self.options(model, self.user(text_part(text)), Wanted(**wanted))
        with self.api.create(**options, stream=True) as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    yield event.delta
                # Events like any other to this SDK: its caller has to look.
                elif event.type == "error":
                    raise openai.APIError(event.message, None, body=event)
                elif event.type == "response.failed":
                    raise openai.APIError(event.response.error.message, None, body=event.response.error)


class Messages(Speaker):
    form = "messages"
    Error = anthropic.APIStatusError

    def __init__(self, url, key=KEY, **options):
        options = {"max_retries": 0, "timeout": 20.0, **options}
        self.client = anthropic.Anthropic(base_url=url, api_key=key, **options)

    def close(self):
        self.client.close()

    @property
    def api(self):
        return self.client.messages

    def user(self, *parts):
        return [{"role": "user", "content": [self.part(*part) for part in parts]}]

    @staticmethod
    def part(kind, value):
        match kind:
            case "text":
                return {"type": "text", "text": value}
            case "image":
                return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": value}}
            case "image_url":
                return {"type": "image", "source": {"type": "url", "url": value}}
            case "pdf":
                source = {"type": "base64", "media_type": "application/pdf", "data": value}
                return {"type": "document", "source": source}

    def results(self, answer, results):
        pairs = zip(answer.calls, results)
        content = [{"type": "tool_result", "tool_use_id": call.id, "content": result} for call, result in pairs]
        return [{"role": "user", "content": content}]

    def options(self, model, turns, wanted):
        options = {"model": model, "messages": turns, "max_tokens": wanted.limit or 1000}
        if wanted.more:
            options["extra_body"] = wanted.more
        if wanted.system:
            options["system"] = wanted.system
        if wanted.tools:
            tools = [{**tool, "input_schema": tool["parameters"]} for tool in wanted.tools]
            options["tools"] = [{k: v for k, v in tool.items() if k != "parameters"} for tool in tools]
        if wanted.choice:
            named = {"type": "tool", "name": wanted.choice}
            options["tool_choice"] = {"any": {"type": "any"}, "none": {"type": "none"}}.get(wanted.choice, named)
        if wanted.think:
            options["thinking"] = {"type": "adaptive", "display": "summarized"}
        if wanted.simulate:
            options["extra_headers"] = {"x-simulate": wanted.simulate}
        if wanted.schema:
            options["output_format"] = wanted.schema
        return options

    def whole(self, model, turns, wanted):
        ask = self.api.parse if wanted.schema else self.api.create
        return self.answer(ask(**self.options(model, turns, wanted)))

    def streamed(self, model, turns, wanted):
        with self.api.stream(**self.options(model, turns, wanted)) as stream:
            pieces = [event.text for event in stream if event.type == "text"]
            return self.answer(stream.get_final_message(), pieces)

    def answer(self, reply, pieces=()):
        blocks = reply.content
        usage = reply.usage
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        details = getattr(usage, "output_tokens_details", None)
        finish = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tools", "refusal": "filtered"}
        said = [block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in blocks]
        return Answer(
            text="".join(block.text for block in blocks if block.type == "text"),
            finish=finish.get(reply.stop_reason, reply.stop_reason),
            model=reply.model,
            usage=Usage(
                usage.input_tokens + read + written,
                usage.output_tokens,
                read,
                (details and details.thinking_tokens) or 0,
            ),
            said=[{"role": "assistant", "content": said}],
            calls=[Call(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"],
            thoughts="".join(block.thinking for block in blocks if block.type == "thinking"),
            parsed=getattr(reply, "parsed_output", None),
            pieces=list(pieces),
        )

    def pieces(self, model, text, **wanted):
        with self.api.stream(**self.options(model, self.user(text_part(text)), Wanted(**wanted))) as stream:
            yield from stream.text_stream

    def models(self):
        return [model.id for model in self.client.models.list()]

    def headers_of(self, model, **wanted):
        options = self.options(model, self.user(text_part("Hello")), Wanted(**wanted))
        return self.api.with_raw_response.create(**options).headers

    def id_of_request(self, model):
        return self.api.create(**self.options(model, self.user(text_part("Hello")), Wanted()))._request_id

    def count(self, model, text):
        return self.api.count_tokens(model=model, messages=self.user(text_part(text))).input_tokens


class Generate(Speaker):
    form = "generate"
    Error = genai.errors.APIError

    def __init__(self, url, key=KEY, **options):
        # In milliseconds.
        timeout = int(options.pop("timeout", 20.0) * 1000)
        http = types.HttpOptions(base_url=url, timeout=timeout, client_args={"trust_env": False}, **options)
        self.client = genai.Client(api_key=key, vertexai=False, http_options=http)

    def close(self):
        self.client.close()

    @property
    def api(self):
        return self.client.models

    def user(self, *parts):
        return [types.UserContent(parts=[self.part(*part) for part in parts])]

    @staticmethod
    def part(kind, value):
        match kind:
            case "text":
                return types.Part.from_text(text=value)
            case "image":
                return types.Part.from_bytes(data=base64.b64decode(value), mime_type="image/png")
            case "image_url":
                return types.Part.from_uri(file_uri=value, mime_type="image/png")
            case "pdf":
                return types.Part.from_bytes(data=base64.b64decode(value), mime_type="application/pdf")

    def results(self, answer, results):
        responses = [
            types.FunctionResponse(id=call.id, name=call.name, response={"result": result})
            for call, result in zip(answer.calls, results)
        ]
        return [types.UserContent(parts=[types.Part(function_response=response) for response in responses])]

    def options(self, model, turns, wanted):
        config = {"system_instruction": wanted.system, "max_output_tokens": wanted.limit, **wanted.more}
        if wanted.tools:
            tools = [
                types.FunctionDeclaration(
                    name=tool["name"], description=tool["description"], parameters_json_schema=tool["parameters"]
                )
                for tool in wanted.tools
            ]
            config["tools"] = [types.Tool(function_declarations=tools)]
        if wanted.choice:
            named = {"mode": "ANY", "allowed_function_names": [wanted.choice]}
            mode = {"any": {"mode": "ANY"}, "none": {"mode": "NONE"}}.get(wanted.choice, named)
            config["tool_config"] = {"function_calling_config": mode}
        if wanted.think:
            config["thinking_config"] = {"include_thoughts": True}
        if wanted.simulate:
            config["http_options"] = {"headers": {"x-simulate": wanted.simulate}}
        if wanted.schema:
            config |= {"response_mime_type": "application/json", "response_schema": wanted.schema}
        return {"model": model, "contents": turns, "config": types.GenerateContentConfig(**config)}

    def whole(self, model, turns, wanted):
        return self.answer([self.api.generate_content(**self.options(model, turns, wanted))], wanted)

    def streamed(self, model, turns, wanted):
        return self.answer(list(self.api.generate_content_stream(**self.options(model, turns, wanted))), wanted)

    def answer(self, chunks, wanted):
        parts = [
            part
            for chunk in chunks
            for candidate in chunk.candidates or []
            for part in (candidate.content and candidate.content.parts) or []
        ]
        texts = [part.text for part in parts if part.text and not part.thought]
        called = [part.function_call for part in parts if part.function_call]
        usage = chunks[-1].usage_metadata
        thinking, answered = usage.thoughts_token_count or 0, usage.candidates_token_count or 0
        assert usage.total_token_count == usage.prompt_token_count + answered + thinking
        reasons = [c.finish_reason.name for chunk in chunks for c in chunk.candidates or [] if c.finish_reason]
        blocked = chunks[-1].prompt_feedback and chunks[-1].prompt_feedback.block_reason
        finish = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "filtered"}
        (reason,) = reasons or ["SAFETY" if blocked else None]
        text = "".join(texts)
        parsed = None
        if wanted.schema:
            parsed = wanted.schema.model_validate_json(text) if wanted.stream else chunks[0].parsed
        return Answer(
            text=text,
            finish="tools" if called else finish.get(reason, reason),
            model=chunks[-1].model_version,
            usage=Usage(usage.prompt_token_count, answered + thinking, usage.cached_content_token_count or 0, thinking),
            said=[types.ModelContent(parts=parts)] if parts else [],
            calls=[Call(call.id, call.name, call.args) for call in called],
            thoughts="".join(part.text for part in parts if part.thought),
            parsed=parsed,
            pieces=texts,
        )

    def pieces(self, model, text, **wanted):
        options = self.options(model, self.user(text_part(text)), Wanted(**wanted))
        for chunk in self.api.generate_content_stream(**options):
            if chunk.text:
                yield chunk.text

    def models(self):
        return [model.name.removeprefix("models/") for model in self.client.models.list()]

    def headers_of(self, model, **wanted):
        options = self.options(model, self.user(text_part("Hello")), Wanted(**wanted))
        return self.api.generate_content(**options).sdk_http_response.headers

    def count(self, model, text):
        return self.api.count_tokens(model=model, contents=self.user(text_part(text))).total_tokens


SPEAKERS = {speaker.form: speaker for speaker in (Chat, Responses, Messages, Generate)}
