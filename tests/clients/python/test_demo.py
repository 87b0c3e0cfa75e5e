"""The program without a policy: simulated providers inside of it answer any copied snippet."""

import pytest

import programs

MESSAGES = [{"role": "user", "content": "Hello there"}]


@pytest.fixture(scope="module")
def demo():
    program = programs.Program("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
    yield program
    program.stop()


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5.4", "some-model-nobody-knows"])
def test_any_model_is_answered(demo, connect, model):
    reply = connect(demo.v1).chat.completions.create(model=model, messages=MESSAGES, max_tokens=8)
    assert reply.model == model
    assert reply.choices[0].message.content.startswith("Hello there ")


def test_streams_come_word_by_word(demo, connect):
    with connect(demo.v1).chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, max_tokens=8, stream=True
    ) as stream:
        words = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    assert len(words) == 8 and "".join(words).startswith("Hello there ")


def test_what_it_says_is_a_command_that_works(demo):
    said = "".join(demo.said)
    assert f"curl {demo.v1}/chat/completions" in said and "gpt-4o-mini" in said
