"""A provider of one family fails, one of another answers: the client sees its own API's answer."""

import re
from decimal import Decimal

import pytest

from programs import eventually
from test_families import FORMS, TIME, WEATHER, WORDS, counted

# Asked for: the provider that fails, who answers, and what a million tokens cost there.
RESCUES = {
    "overloaded": ("overloaded/claude-haiku-4-5", "as_chat/gpt-4.1-mini", ("0.40", "1.60")),
    "giving-up": ("giving_up/claude-haiku-4-5", "as_chat/gpt-4.1-mini", ("0.40", "1.60")),
    "unavailable": ("unavailable/gemini-2.5-flash", "as_messages/claude-haiku-4-5", ("1", "5")),
    "failing": ("failing/gpt-4.1-mini", "as_generate/gemini-2.5-flash", ("0.30", "2.50")),
}


@pytest.fixture
def rescued(proxies, connected):
    return lambda form: connected(form, url=proxies("rescue").url)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", RESCUES)
@pytest.mark.parametrize("form", FORMS)
def test_text(rescued, proxies, http, form, model, stream):
    failing, answering, prices = RESCUES[model]
    proxy = proxies("rescue")

    def cost():
        metrics = http.get(proxy.admin + "/metrics").text
        return sum(int(n) for n in re.findall(r"^tollway_cost_nano_usd_total{.*} (\d+)$", metrics, re.M))

    before = cost()
    if model == "giving-up" and not stream:
        pytest.skip("an error inside of a 200 is a stream's")
    answer = rescued(form).ask(model, WORDS, stream=stream)
    assert (answer.text, answer.finish) == (WORDS, "stop")
    assert (answer.usage.input, answer.usage.output) == (counted(WORDS), 16)
    # A price of 1 USD for a million is 1000 nano-USD each.
    price = [int(Decimal(one) * 1000) for one in prices]
    expected = counted(WORDS) * price[0] + 16 * price[1]
    eventually("cost", lambda: cost() - before, lambda more: more == expected)


@pytest.mark.parametrize("model", RESCUES)
@pytest.mark.parametrize("form", FORMS)
def test_tools(rescued, form, model):
    speaker = rescued(form)
    turns, wanted = None, {"tools": [WEATHER, TIME], "stream": True}
    from speakers import text_part

    turns = speaker.user(text_part("Oslo"))
    first = speaker.ask(model, turns, **wanted, choice="any")
    assert [call.name for call in first.calls] == ["get_weather"]
    turns = turns + first.said + speaker.results(first, ["sunny"])
    assert speaker.ask(model, turns, **wanted).text.startswith("Oslo ")


@pytest.mark.parametrize("form", FORMS)
def test_how_it_came_about(rescued, form):
    for model, (failing, answering, _) in RESCUES.items():
        if model == "giving-up":
            continue
        headers = rescued(form).headers_of(model)
        tried = [attempt.split(";")[0] for attempt in headers["x-tollway-attempts"].split(", ")]
        assert (tried[0], tried[-1]) == (failing, answering)


@pytest.mark.parametrize("form", FORMS)
def test_honest_error_when_nobody_is_left(rescued, form):
    speaker = rescued(form)
    with pytest.raises(speaker.Error) as error:
        speaker.ask("hopeless", WORDS)
    assert error.value.message
    assert (getattr(error.value, "status_code", None) or error.value.code) >= 500
