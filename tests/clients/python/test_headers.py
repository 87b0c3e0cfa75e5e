"""What the proxy adds to a reply, and what it never lets out."""

import re
from decimal import Decimal

from programs import eventually

MESSAGES = [{"role": "user", "content": "Hello there"}]


def test_cost_is_exact(proxies, connect):
    client = connect(proxies("full").v1)
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=MESSAGES)
    usage = raw.parse().usage
    # gpt-4o-mini: 0.15 USD for a million input tokens, 0.60 for a million output tokens.
    cost = usage.prompt_tokens * Decimal("0.15e-6") + usage.completion_tokens * Decimal("0.60e-6")
    assert Decimal(raw.headers["x-tollway-cost-usd"]) == cost > 0


def test_unknown_price_is_not_zero(proxies, connect):
    client = connect(proxies("full").v1)
    raw = client.chat.completions.with_raw_response.create(model="nobody-priced-it", messages=MESSAGES)
    assert "x-tollway-cost-usd" not in raw.headers


def test_stream_has_no_cost_in_its_head(proxies, connect):
    client = connect(proxies("full").v1)
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=MESSAGES, stream=True
    )
    assert "x-tollway-cost-usd" not in raw.headers
    list(raw.parse())


def test_cost_of_streams_is_in_the_metrics(proxies, connect, http):
    proxy = proxies("full")

    def cost():
        metrics = http.get(proxy.admin + "/metrics").text
        return sum(int(n) for n in re.findall(r"^tollway_cost_nano_usd_total{.*} (\d+)$", metrics, re.M))

    before = cost()
    client = connect(proxy.v1)
    with client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True) as stream:
        list(stream)
    # "Hello there" is 7 tokens, the reply 16; a price of 1 USD for a million is 1000 nano-USD each.
    cost_of_it = 7 * 150 + 16 * 600
    eventually("cost", lambda: cost() - before, lambda more: more == cost_of_it)


def test_every_request_has_an_id_of_its_own(proxies, connect):
    client = connect(proxies("full").v1)
    ids = {
        client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=MESSAGES)
        .headers["x-tollway-request-id"]
        for _ in range(5)
    }
    assert len(ids) == 5 and all(re.fullmatch("[0-9a-f]{24}", one) for one in ids)


def test_provider_headers_reach_the_client(proxies, connect):
    raw = connect(proxies("full").v1).chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=MESSAGES
    )
    assert raw.headers["openai-organization"] == "org-simulated"
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_admin_listener(proxies, http):
    proxy = proxies("bare")
    assert http.get(proxy.admin + "/healthz").status_code == 200
    assert http.get(proxy.admin + "/readyz").status_code == 200
    assert "# TYPE tollway" in http.get(proxy.admin + "/metrics").text
