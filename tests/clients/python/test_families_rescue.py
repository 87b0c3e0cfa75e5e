"""A provider of one family fails, one of another answers: the client sees its own API's answer."""

import re
from decimal import Decimal

import pytest

from programs import eventually
from speakers import SPEAKERS, text_part
from test_families import FORMS, TIME, WEATHER, WORDS, counted

OPENAI, ANTHROPIC, GEMINI = ("0.40", "1.60"), ("1", "5"), ("0.30", "2.50")
# Asked for: who fails, who answers, and what a million tokens in and out cost there.
RESCUES = {
    "overloaded": ("overloaded/claude-haiku-4-5", "as_chat/gpt-4.1-mini", OPENAI),
    "giving-up": ("giving_up/claude-haiku-4-5", "as_chat/gpt-4.1-mini", OPENAI),
    "wavering": ("wavering/claude-haiku-4-5", "as_responses/gpt-4.1-mini", OPENAI),
    "unavailable": ("unavailable/gemini-2.5-flash", "as_messages/claude-haiku-4-5", ANTHROPIC),
    "failing": ("failing/gpt-4.1-mini", "as_generate/gemini-2.5-flash", GEMINI),
    "silent": ("silent/gpt-4.1-mini", "as_messages/claude-haiku-4-5", ANTHROPIC),
}


@pytest.fixture(scope="module", params=FORMS)
def speaker(request, proxies):
    speaker = SPEAKERS[request.param](proxies("rescue").url)
    yield speaker
    speaker.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", RESCUES)
def test_answer_its_usage_and_its_cost(speaker, proxies, http, model, stream):
    proxy = proxies("rescue")

    def cost():
        metrics = http.get(proxy.admin + "/metrics").text
        return sum(int(n) for n in re.findall(r"^tollway_cost_nano_usd_total{.*} (\d+)$", metrics, re.M))

    before = cost()
    answer = speaker.ask(model, WORDS, stream=stream)
    assert (answer.text, answer.finish) == (WORDS, "stop")
    assert (answer.usage.input, answer.usage.output) == (counted(WORDS), 16)
    # A price of 1 USD for a million is 1000 nano-USD each; who failed is not paid.
    price_in, price_out = (int(Decimal(price) * 1000) for price in RESCUES[model][2])
    expected = counted(WORDS) * price_in + 16 * price_out
    eventually("cost", lambda: cost() - before, lambda more: more == expected)


# The beginning of a call, which names it, is a first word: after it nothing can be taken back.
@pytest.mark.parametrize("model", [model for model in RESCUES if model != "wavering"])
def test_tools(speaker, model):
    turns = speaker.user(text_part("Oslo"))
    first = speaker.ask(model, turns, tools=[WEATHER, TIME], choice="any", stream=True)
    assert [call.name for call in first.calls] == ["get_weather"]
    turns = turns + first.said + speaker.results(first, ["sunny"])
    assert speaker.ask(model, turns, tools=[WEATHER, TIME], stream=True).text.startswith("Oslo ")


def test_how_it_came_about(speaker):
    for model, (failing, answering, _) in RESCUES.items():
        headers = speaker.headers_of(model)
        tried = [attempt.split(";")[0] for attempt in headers["x-tollway-attempts"].split(", ")]
        assert (tried[0], tried[-1]) == (failing, answering), model


@pytest.mark.parametrize("fault", ["late_error=first", "truncate=first", "reset=first", "malformed=first"])
def test_stream_that_breaks_before_its_first_word_is_tried_again(speaker, fault):
    for family in FORMS:
        with pytest.raises(speaker.Error) as error:
            list(speaker.pieces(family, WORDS, simulate=fault))
        error = error.value
        assert (getattr(error, "status_code", None) or error.code) >= 500
        assert error.response.headers["x-tollway-attempts"].count(f"as_{family}") > 1


def test_honest_error_when_nobody_is_left(speaker):
    for stream in (False, True):
        with pytest.raises(speaker.Error) as error:
            speaker.ask("hopeless", WORDS, stream=stream)
        assert error.value.message
        assert (getattr(error.value, "status_code", None) or error.value.code) >= 500


def test_what_cannot_be_translated_goes_to_the_next_target(proxies, connect):
    # Several answers at once: Anthropic's API has no field for that.
    reply = connect(proxies("rescue").v1).chat.completions.create(
        model="translated", messages=[{"role": "user", "content": WORDS}], n=2
    )
    assert [choice.message.content for choice in reply.choices] == [WORDS, WORDS]
    assert reply.model == "gpt-4.1-mini"
