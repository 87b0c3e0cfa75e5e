"""One simulated provider and one proxy a policy for the whole run; each starts when first asked for."""

import uuid

import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI

import programs
from speakers import SPEAKERS


@pytest.fixture(scope="session")
def simulator():
    program = programs.simulator()
    yield program
    program.stop()


@pytest.fixture(scope="session")
def proxies(simulator):
    """Gives the proxy that runs the named policy in front of the simulator."""
    running = {}
    holder, nobody = programs.closed_port()

    def get(policy):
        if policy not in running:
            running[policy] = programs.proxy(
                policy, UPSTREAM=simulator.v1, SIMULATOR=simulator.url, NOBODY=nobody
            )
        return running[policy]

    yield get
    holder.close()
    for program in running.values():
        program.stop()


@pytest.fixture(params=["direct", "bare", "full"])
def base_url(request, simulator, proxies):
    """The provider itself, and what must not be told from it: no layer on, every layer on."""
    return (simulator if request.param == "direct" else proxies(request.param)).v1


@pytest.fixture
def connect():
    """Makes clients that are closed at the test's end; they never retry unless told to."""
    made = []

    def client(base_url, **options):
        options = {"api_key": "sk-of-the-client", "max_retries": 0, "timeout": 20.0, **options}
        made.append(OpenAI(base_url=base_url, **options))
        return made[-1]

    yield client
    for client in made:
        client.close()


@pytest.fixture
def connect_async():
    """The same for the asynchronous client, which its test closes with `async with`."""

    def client(base_url, **options):
        options = {"api_key": "sk-of-the-client", "max_retries": 0, "timeout": 20.0, **options}
        return AsyncOpenAI(base_url=base_url, **options)

    return client


@pytest.fixture
def client(base_url, connect):
    return connect(base_url)


@pytest.fixture
def connected(proxies):
    """Makes speakers, by default to the proxy with a provider of every family."""
    made = []

    def speaker(form, url=None, **options):
        made.append(SPEAKERS[form](url or proxies("families").url, **options))
        return made[-1]

    yield speaker
    for speaker in made:
        speaker.close()


@pytest.fixture(scope="session")
def speakers(proxies):
    """The same, one of a form for the whole run."""
    made = {}

    def speaker(form):
        if form not in made:
            made[form] = SPEAKERS[form](proxies("families").url)
        return made[form]

    yield speaker
    for speaker in made.values():
        speaker.close()


@pytest.fixture(params=list(SPEAKERS))
def speaker(request, speakers):
    return speakers(request.param)


@pytest.fixture
def user():
    """A caller that no other test knows."""
    return f"user-{uuid.uuid4().hex}"


@pytest.fixture
def http():
    with httpx2.Client(timeout=20.0, trust_env=False) as client:
        yield client
