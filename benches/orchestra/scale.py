"""Several instances on one Redis: what they let in, what asking it adds, and what is felt when it is away."""

import json
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from proxy import HEADERS, chat
from servers import Lab, Server, free_port

INSTANCES = 5
# A second: four times what is allowed.
OFFERED, ALLOWED = 2000, 500
# What the backend's reply says that it used.
TOKENS = 426
POLICY = """
log: {{ level: warn }}
server: {{ workers: 1 }}
state: {state}
callers: {{ identify: [header x-user-id, provider_key, ip] }}
providers:
  bench: {{ base_url: "http://{backend}/v1", dialect: openai, api_key: sk-bench-0123456789abcdef, idle_connections: 128 }}
limits:
{limits}
"""
EVERYBODY = "  - {{ name: all, per: all, {}, when_full: reject }}\n"
PLENTY = [
    "  - { name: everyone, per: all, requests: 1000M/min, tokens: 1000000M/min }\n",
    "  - { name: user, per: user, requests: 900M/min, tokens: 900000M/min }\n",
    "  - { name: address, per: ip, requests: 800M/min }\n",
]


class Scale:
    def __init__(self, tollway, load, options):
        self.tollway, self.load, self.options = tollway, load, options
        self.files = tempfile.TemporaryDirectory()
        self.body = f"{self.files.name}/body"
        pathlib.Path(self.body).write_text(chat(False))

    def redis(self, lab):
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", lab.dir.name]
        return lab.add("redis", command, port)

    def instance(self, lab, state, limits):
        port = free_port()
        policy = pathlib.Path(tempfile.mkstemp(suffix=".yaml", dir=lab.dir.name)[1])
        policy.write_text(POLICY.format(state=state, backend=self.backend.address, limits=limits))
        command = [self.tollway, "serve", str(policy), "--listen", f"127.0.0.1:{port}"]
        return lab.add("tollway", [*command, "--admin-listen", "127.0.0.1:0"], port)

    def send(self, system, rate, seconds, connections=16, warm_up=2):
        command = [self.load, "rate", "--address", system.address, "--body", self.body]
        for name, value in HEADERS.items():
            if name != "content-type":
                command += ["--header", f"{name}: {value}"]
        command += ["--rate", str(rate), "--seconds", str(seconds)]
        command += ["--connections", str(connections), "--warm-up", str(warm_up)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(run.stderr)
        return json.loads(run.stdout)

    def admitted(self):
        """[(unit, allowed/s, offered/s, admitted/s, off in %, p50, p99)] of the whole fleet."""
        rows, seconds = [], self.options.seconds * 10
        for unit, each in (("requests", 1), ("tokens", TOKENS)):
            with Lab(self.tollway) as lab:
                self.backend = lab.json_backend()
                redis = self.redis(lab)
                burst = "burst" if unit == "requests" else "burst_tokens"
                quota = f"{unit}: {ALLOWED * each}/s, {burst}: {ALLOWED * each}"
                # Whoever is not answered in 5 s would decide alone: nobody does here.
                state = f"{{ redis: {{ url: 'redis://{redis.address}', timeout: 5s }}, ledger: memory }}"
                fleet = [self.instance(lab, state, EVERYBODY.format(quota)) for _ in range(INSTANCES)]
                time.sleep(0.5)
                with ThreadPoolExecutor(INSTANCES) as pool:
                    seen = list(pool.map(lambda one: self.send(one, OFFERED // INSTANCES, seconds), fleet))
                if errors := sum(one["errors"] for one in seen):
                    raise SystemExit(f"{errors} requests failed: {seen}")
                let_in = sum(one["requests"] for one in seen)
                offered = let_in + sum(one["refused"] for one in seen)
                off = (let_in / seconds / ALLOWED - 1) * 100
                p50, p99 = (max(one[f"whole_{q}"] for one in seen) for q in ("p50", "p99"))
                rows.append((unit, ALLOWED * each, offered / seconds, let_in * each / seconds, off, p50, p99))
        return rows

    def added(self):
        """[(where limits are, p50, p99, CPU a request in µs)] of one instance at 200 requests/s."""
        rows = []
        with Lab(self.tollway) as lab:
            self.backend = lab.json_backend()
            redis = self.redis(lab)
            places = (("memory", "memory"), ("redis", f"{{ redis: 'redis://{redis.address}', ledger: memory }}"))
            fleet = [(name, self.instance(lab, state, "".join(PLENTY))) for name, state in places]
            found = {name: [] for name, _ in fleet}
            for _ in range(self.options.repeat):
                for name, one in fleet:
                    before = one.cpu()
                    seen = self.send(one, 200, self.options.seconds, warm_up=0.5)
                    cpu = (one.cpu() - before) / (200 * (self.options.seconds + 0.5)) * 1e6
                    found[name].append((seen["whole_p50"], seen["whole_p99"], cpu))
            for name, runs in found.items():
                rows.append((name, *(sorted(column)[len(runs) // 2] for column in zip(*runs))))
        return rows

    def away(self):
        """[(what is done, p50, p99, the longest, failed)] at 200 requests/s, done after two seconds."""
        rows = []
        url = lambda redis: f"{{ redis: {{ url: 'redis://{redis.address}', timeout: 20ms }} }}"
        stopped = lambda redis: redis.process.send_signal(signal.SIGSTOP)
        killed = lambda redis: redis.process.kill()
        slow = lambda redis: [command(redis, "CLIENT PAUSE 30 ALL") for _ in range(60)]
        flushed = lambda redis: [command(redis, "FLUSHALL") for _ in range(20)]
        for what, do in (
            ("nothing", lambda redis: None),
            ("it is stopped (SIGSTOP)", stopped),
            ("it is killed", killed),
            ("it answers after 30 ms, 60 times", slow),
            ("it is emptied 20 times", flushed),
        ):
            with Lab(self.tollway) as lab:
                self.backend = lab.json_backend()
                redis = self.redis(lab)
                one = self.instance(lab, url(redis), "".join(PLENTY))
                time.sleep(0.5)
                with ThreadPoolExecutor(1) as pool:
                    load = pool.submit(self.send, one, 200, 5, 16, 0.5)
                    time.sleep(2)
                    do(redis)
                    seen = load.result()
                redis.process.send_signal(signal.SIGCONT)
                rows.append((what, seen["whole_p50"], seen["whole_p99"], seen["whole_max"], seen["errors"] + seen["refused"]))
        return rows


def command(server: Server, text):
    """One command, answered or not."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as link:
        link.sendall(f"{text}\r\n".encode())
        link.recv(64)
