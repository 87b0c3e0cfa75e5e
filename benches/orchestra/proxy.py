"""The whole proxy against its peers: interleaved repetitions, medians, ratios within a repetition."""

import json
import os
import selectors
import socket
import subprocess
import tempfile
import time
from collections import defaultdict
from statistics import median

from servers import Lab

HEADERS = {
    "content-type": "application/json",
    "authorization": "Bearer sk-client-0123456789abcdef",
    "x-user-id": "alice",
    "user-agent": "OpenAI/Python 2.9.0",
}
# 50 `data:` events: the role, 47 tokens, the end, [DONE].
EVENTS, TOKENS = 50, 47


def chat(stream):
    """About two kilobytes, as a conversation of a few turns has."""
    text = "Explain how a reverse proxy keeps its promises when a provider is slow. " * 3
    messages = [{"role": "system", "content": "You are a helpful assistant. Answer briefly."}]
    for turn in range(4):
        messages.append({"role": "user", "content": f"{turn}: {text}"})
        messages.append({"role": "assistant", "content": f"It depends, {turn}. {text[:160]}"})
    messages.append({"role": "user", "content": "And in one sentence?"})
    body = {"model": "gpt-4o-mini", "messages": messages, "temperature": 0.7, "max_tokens": 256}
    return json.dumps({**body, "stream": True} if stream else body)


class Bench:
    def __init__(self, tollway, load, options):
        self.tollway, self.load, self.options = tollway, load, options
        self.found = defaultdict(lambda: defaultdict(list))  # [figure][system] -> one a repetition
        self.files = tempfile.TemporaryDirectory()
        for name in ("json", "stream"):
            with open(f"{self.files.name}/{name}", "w") as file:
                file.write(chat(name == "stream"))
        lua = "wrk.method='POST'\nwrk.body=[==[" + chat(False) + "]==]\n"
        lua += "".join(f"wrk.headers['{name}']='{value}'\n" for name, value in HEADERS.items())
        # A line of its own to read, and every reply must be a 200.
        lua += """
done = function(s, l, r)
  io.write(string.format('RESULT %d %d %d\\n', s.requests, s.duration,
    s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout))
end
"""
        with open(f"{self.files.name}/wrk.lua", "w") as file:
            file.write(lua)

    def note(self, figure, system, value):
        self.found[figure][system.name if system.name != "backend" else "direct"].append(value)

    def rounds(self, systems, what):
        """Every system once a repetition, each repetition starting with another."""
        for turn in range(self.options.repeat):
            shift = turn % len(systems)
            for system in systems[shift:] + systems[:shift]:
                what(system)

    def wrk(self, system, seconds, connections=64):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s"]
        url = f"http://{system.address}/v1/chat/completions"
        out = subprocess.run(
            [*command, f"{self.files.name}/wrk.lua", url], capture_output=True, text=True, check=True
        ).stdout
        line = next(line for line in out.splitlines() if line.startswith("RESULT"))
        requests, micros, errors = map(int, line.split()[1:])
        if errors or not requests:
            raise SystemExit(f"{system.name}: {errors} of {requests} requests failed:\n{out}")
        return requests, micros / 1e6

    def run_load(self, system, mode, body, *more):
        command = [self.load, mode, "--address", system.address, "--body", f"{self.files.name}/{body}"]
        for name, value in HEADERS.items():
            if name != "content-type":
                command += ["--header", f"{name}: {value}"]
        nice = ["nice", "-n", "-10"] if self.options.nice else []
        run = subprocess.run([*nice, *command, *map(str, more)], capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(run.stderr)
        seen = json.loads(run.stdout)
        if seen["errors"] or seen["refused"] or not seen["requests"]:
            raise SystemExit(f"{system.name}: {seen}")
        return seen

    def throughput(self):
        with Lab(self.tollway) as lab:
            systems = lab.all(lab.json_backend())
            for system in systems:
                self.wrk(system, 1)

            def once(system):
                before = system.cpu()
                requests, seconds = self.wrk(system, self.options.seconds)
                self.note("rps", system, requests / seconds)
                self.note("cpu_request", system, (system.cpu() - before) / requests * 1e6)

            self.rounds(systems, once)

    def latency(self):
        with Lab(self.tollway, self.options.nice) as lab:
            systems = lab.all(lab.json_backend())

            def once(system):
                seen = self.run_load(
                    system, "rate", "json", "--rate", 200, "--seconds", self.options.seconds
                )
                self.note("p50", system, seen["whole_p50"])
                self.note("p99", system, seen["whole_p99"])

            self.rounds(systems, once)

    def streams(self):
        with Lab(self.tollway, self.options.nice) as lab:
            systems = lab.all(lab.stream_backend())
            first = ("--header", "x-simulate: tps=1000; output_tokens=8", "--rate", 100)
            paced = ("--header", f"x-simulate: tps=100; output_tokens={TOKENS}")

            def once(system):
                seen = self.run_load(
                    system, "rate", "stream", *first, "--seconds", self.options.seconds
                )
                self.note("ttft_p50", system, seen["first_p50"])
                self.note("ttft_p99", system, seen["first_p99"])
                before = system.cpu()
                seen = self.run_load(
                    *(system, "closed", "stream", *paced, "--connections", 32),
                    *("--warm-up", 0, "--seconds", self.options.seconds),
                )
                if seen["events"] != seen["requests"] * EVENTS:
                    raise SystemExit(f"{system.name}: not {EVENTS} events a stream: {seen}")
                self.note("cpu_event", system, (system.cpu() - before) / seen["events"] * 1e6)
                self.note("events", system, seen["events"] / self.options.seconds)

            self.rounds(systems, once)

    def memory(self):
        with Lab(self.tollway) as lab:
            backend = lab.stream_backend()
            for turn in range(min(self.options.repeat, 3)):
                for start in (
                    lab.nginx,
                    lab.haproxy,
                    lambda backend: lab.tollway_with("empty", backend),
                    lambda backend: lab.tollway_with("full", backend),
                ):
                    system = start(backend)
                    time.sleep(0.5)
                    for key, value in zip(("rss", "pss"), system.memory()):
                        self.note(f"idle_{key}", system, value)
                    with Streams(system.port, 1000) as streams:
                        streams.read_for(4)
                        for key, value in zip(("rss", "pss"), system.memory()):
                            self.note(f"open_{key}", system, value)
                        if streams.alive() != 1000:
                            raise SystemExit(f"{system.name}: {streams.alive()} of 1000 streams live")
                    lab.drop(system)


class Streams:
    """Streams that stay open, an event a second each."""

    def __init__(self, port, count):
        body = chat(True)
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        request = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{head}"
            "x-simulate: tps=1; output_tokens=600\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self.selector, self.seen, self.sockets = selectors.DefaultSelector(), {}, []
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", port), 5)
            one.sendall(request)
            one.setblocking(False)
            self.selector.register(one, selectors.EVENT_READ)
            self.seen[one] = b""
            self.sockets.append(one)

    def read_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, _ in self.selector.select(0.1):
                data = key.fileobj.recv(65536)
                if not data:
                    self.selector.unregister(key.fileobj)
                    self.seen[key.fileobj] = b"closed"
                elif len(self.seen[key.fileobj]) < 1500:
                    self.seen[key.fileobj] += data

    def alive(self):
        """Those with a 200 and at least two events."""
        return sum(
            seen.startswith(b"HTTP/1.1 200") and seen.count(b"data:") >= 2 for seen in self.seen.values()
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()
        self.selector.close()


def added(found, figure, system):
    """Over `direct` in the same repetition."""
    return median(a - b for a, b in zip(found[figure][system], found[figure]["direct"]))


def ratio(found, figure, system, over="nginx"):
    """To `over` in the same repetition."""
    pairs = zip(found[figure][system], found[figure][over])
    return median(a / b if b else float("nan") for a, b in pairs)
