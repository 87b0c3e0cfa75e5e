"""What goes wrong at a provider of any family arrives as the client SDK's own errors."""

import anthropic
import openai
import pytest
from google import genai

from programs import eventually
from test_families import FORMS, WORDS

# By form: what its SDK raises, and what it says; by what the provider answered with.
ERRORS = {
    400: {
        "openai": (openai.BadRequestError, 400, None),
        "messages": (anthropic.BadRequestError, 400, "invalid_request_error"),
        "generate": (genai.errors.ClientError, 400, "INVALID_ARGUMENT"),
    },
    404: {
        "openai": (openai.NotFoundError, 404, "model_not_found"),
        "messages": (anthropic.NotFoundError, 404, "not_found_error"),
        "generate": (genai.errors.ClientError, 404, "NOT_FOUND"),
    },
    413: {
        "openai": (openai.APIStatusError, 413, None),
        "messages": (anthropic.ContentTooLargeError, 413, "request_too_large"),
        "generate": (genai.errors.ClientError, 413, "INVALID_ARGUMENT"),
    },
    429: {
        "openai": (openai.RateLimitError, 429, "rate_limit_exceeded"),
        "messages": (anthropic.RateLimitError, 429, "rate_limit_error"),
        "generate": (genai.errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
    },
    # The proxy's own key: its operator is told, by the same status.
    401: {
        "openai": (openai.AuthenticationError, 401, "invalid_api_key"),
        "messages": (anthropic.AuthenticationError, 401, "authentication_error"),
        "generate": (genai.errors.ClientError, 401, "UNAUTHENTICATED"),
    },
    500: {
        "openai": (openai.InternalServerError, (500, 502), None),
        "messages": (anthropic.InternalServerError, (500, 502), "api_error"),
        "generate": (genai.errors.ServerError, (500, 502), ("INTERNAL", "UNAVAILABLE")),
    },
    "overloaded": {
        "openai": (openai.InternalServerError, 503, "server_is_overloaded"),
        "messages": (anthropic.OverloadedError, 529, "overloaded_error"),
        "generate": (genai.errors.ServerError, 503, "UNAVAILABLE"),
    },
    504: {
        "openai": (openai.InternalServerError, 504, None),
        "messages": (anthropic.GatewayTimeoutError, 504, "timeout_error"),
        "generate": (genai.errors.ServerError, 504, "DEADLINE_EXCEEDED"),
    },
}


@pytest.fixture(params=FORMS)
def family(request):
    return request.param


def expected(speaker, how):
    return ERRORS[how][speaker.form if speaker.form in ERRORS[how] else "openai"]


def code(error):
    """The name of the error, where each SDK has it."""
    if isinstance(error, genai.errors.APIError):
        return error.status
    return error.type if isinstance(error, anthropic.APIError) else error.code


def number(error):
    return error.code if isinstance(error, genai.errors.APIError) else error.status_code


def headers(error):
    return error.response.headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("how", ERRORS)
def test_status(speaker, family, how, stream):
    kind, status, name = expected(speaker, how)
    sent = (529 if family == "messages" else 503) if how == "overloaded" else how
    with pytest.raises(kind) as error:
        speaker.ask(family, WORDS, simulate=f"status={sent}", stream=stream)
    error = error.value
    assert number(error) in (status if isinstance(status, tuple) else (status,))
    if name:
        assert code(error) in (name if isinstance(name, tuple) else (name,))
    assert error.message
    assert headers(error)["x-tollway-request-id"]


def test_wait_is_kept(speaker, family):
    kind, _, _ = expected(speaker, 429)
    with pytest.raises(kind) as error:
        speaker.ask(family, WORDS, simulate="status=429; retry_after=7")
    # Gemini says it in its body alone, also to its own SDK.
    if not speaker.form == family == "generate":
        assert headers(error.value)["retry-after"] == "7"
    if speaker.form == "generate":
        details = error.value.details["error"]["details"]
        assert "7s" in [detail.get("retryDelay") for detail in details]


def test_account_without_money(speaker, family):
    kind, _, _ = expected(speaker, 429)
    with pytest.raises(kind) as error:
        speaker.ask(family, WORDS, simulate="quota")
    assert number(error.value) == 429
    if speaker.form in ("chat", "responses"):
        assert error.value.code == "insufficient_quota"


@pytest.mark.parametrize("family", ["chat", "responses", "messages"])
@pytest.mark.parametrize("form", ["chat", "responses", "messages"])
def test_request_id_of_the_provider(speakers, form, family):
    speaker = speakers(form)
    with pytest.raises(speaker.Error) as error:
        speaker.ask(family, WORDS, simulate="status=400")
    assert error.value.request_id.startswith("req_")
    assert speaker.id_of_request(family).startswith("req_")


def test_garbage(speaker, family):
    for stream in (False, True):
        with pytest.raises(speaker.Error) as error:
            speaker.ask(family, WORDS, simulate="body=garbage", stream=stream)
        assert number(error.value) == 502


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_content_that_is_refused(speaker, family, stream):
    if speaker.form == "chat" and stream:
        # This SDK's own error for it.
        with pytest.raises(openai.ContentFilterFinishReasonError):
            speaker.ask(family, WORDS, simulate="refuse", stream=True)
        return
    answer = speaker.ask(family, WORDS, simulate="refuse", stream=stream)
    assert (answer.text, answer.finish) == ("", "filtered")


KINDS = {"messages": anthropic.APIError, "generate": genai.errors.APIError}


def check_that_it_breaks(speaker, family, fault):
    pieces = []
    with pytest.raises(KINDS.get(speaker.form, openai.APIError)) as error:
        for piece in speaker.pieces(family, WORDS, simulate=fault):
            pieces.append(piece)
    # What had come before is there, and no invented end behind it.
    assert "".join(pieces).strip() == "one two three"
    assert error.value.message


@pytest.mark.parametrize("fault", ["late_error=after:3", "truncate=after:3", "reset=after:3"])
def test_stream_that_breaks_in_the_middle(speaker, family, fault):
    check_that_it_breaks(speaker, family, fault)


def test_event_that_cannot_be_read(speaker):
    # Of the speaker's own family every byte would pass.
    for family in set(FORMS) - {speaker.form}:
        check_that_it_breaks(speaker, family, "malformed=after:3")


def test_hang_up_in_the_middle_of_a_stream(speaker, simulator, http, family):
    def stats():
        return http.get(simulator.url + "/__simulate/stats").json()

    before = stats()
    pieces = speaker.pieces(family, "Hello", simulate="tps=100; output_tokens=100000", limit=100_000)
    for _ in range(3):
        next(pieces)
    assert stats()["open_streams"] == before["open_streams"] + 1
    pieces.close()
    eventually(
        "the provider",
        stats,
        lambda now: now["cancelled"] == before["cancelled"] + 1 and now["open_streams"] == before["open_streams"],
    )


def test_hang_up_before_the_reply(proxies, connected, simulator, http, family):
    def cancelled():
        return http.get(simulator.url + "/__simulate/stats").json()["cancelled"]

    for form in FORMS:
        before = cancelled()
        impatient = connected(form, timeout=0.2)
        with pytest.raises(Exception) as error:
            impatient.ask(family, WORDS, simulate="stall=before")
        assert "Timeout" in type(error.value).__name__, error.value
        eventually("the provider", cancelled, lambda now: now == before + 1)


def test_body_that_is_no_json(proxies, http):
    for path, (key, value) in {
        "/v1/chat/completions": ("type", "invalid_request_error"),
        "/v1/responses": ("type", "invalid_request_error"),
        "/v1/messages": ("type", "invalid_request_error"),
        "/v1beta/models/chat:generateContent": ("status", "INVALID_ARGUMENT"),
    }.items():
        reply = http.post(
            proxies("families").url + path,
            content=b"{",
            headers={"authorization": "Bearer tollway-test-key-1", "content-type": "application/json"},
        )
        assert reply.status_code == 400 and reply.json()["error"][key] == value


def test_unknown_model(speaker):
    with pytest.raises(speaker.Error) as error:
        speaker.ask("chatt", WORDS)
    assert number(error.value) == 404
    assert "chatt" in error.value.message and "`chat`" in error.value.message
