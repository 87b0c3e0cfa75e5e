"""Starts and measures what the benchmarks run against each other. Everything listens on 127.0.0.1."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

BENCHES = pathlib.Path(__file__).resolve().parent.parent
WORKERS = min(os.cpu_count() or 2, 4)
REPLY = (
    '{"id":"chatcmpl-9f3c1a7be2d84c5f","object":"chat.completion","created":1763800000,'
    '"model":"gpt-4o-mini","system_fingerprint":"fp_bench","choices":[{"index":0,"message":'
    '{"role":"assistant","content":"The proxy passes the request on and counts what the reply used.",'
    '"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":412,'
    '"completion_tokens":14,"total_tokens":426,"prompt_tokens_details":{"cached_tokens":128},'
    '"completion_tokens_details":{"reasoning_tokens":0}}}'
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process (and its children) that listens on a port."""

    def __init__(self, name, command, port, env=None, nice=False):
        command = ["nice", "-n", "-10", *command] if nice else command
        self.name, self.port, self.address = name, port, f"127.0.0.1:{port}"
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, env={**os.environ, **(env or {})}
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    self.log.seek(0)
                    raise SystemExit(f"{name} does not start:\n{self.log.read()}")
                time.sleep(0.02)

    def pids(self):
        """The process and its children: nginx's workers."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [self.process.pid, *map(int, children.read_text().split())]

    def cpu(self):
        """User and system time so far of all its processes, in seconds."""
        ticks = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """(sum of Rss, sum of Pss) of all its processes, in MB. Pss shares out common pages."""
        total = {"Rss:": 0, "Pss:": 0}
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                key, *rest = line.split()
                if key in total:
                    total[key] += int(rest[0])
        return total["Rss:"] / 1000 * 1.024, total["Pss:"] / 1000 * 1.024

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


NGINX = """
daemon off; master_process on; worker_processes {workers}; pid {dir}/nginx.pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
    access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 300s;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    client_body_buffer_size 64k;
    {http}
}}
"""
HAPROXY = """
global
    nbthread {workers}
    maxconn 8192
defaults
    mode http
    option http-keep-alive
    option http-no-delay
    http-reuse always
    timeout connect 5s
    timeout client 300s
    timeout server 300s
frontend in
    bind 127.0.0.1:{port}
    default_backend out
backend out
    server one {backend} pool-max-conn 256
"""


class Lab:
    """Starts servers, stops all of them at the end."""

    def __init__(self, tollway, nice=False):
        self.tollway, self.nice = tollway, nice
        self.servers, self.dir = [], tempfile.TemporaryDirectory()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in reversed(self.servers):
            server.stop()
        self.dir.cleanup()

    def add(self, *described):
        server = Server(*described, nice=self.nice)
        self.servers.append(server)
        return server

    def drop(self, server):
        server.stop()
        self.servers.remove(server)

    def _nginx(self, name, workers, http):
        port = free_port()
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.dir.name))
        folder.chmod(0o755)
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(workers=workers, dir=folder, http=http.replace("PORT", str(port))))
        return self.add(name, ["nginx", "-p", str(folder), "-c", str(config)], port)

    def json_backend(self):
        """One nginx worker that answers every call with the same reply of half a kilobyte."""
        return self._nginx(
            "backend",
            1,
            "server { listen 127.0.0.1:PORT; location / { default_type application/json; return 200 '"
            + REPLY
            + "'; } }",
        )

    def stream_backend(self):
        """The simulated provider: paced streams, steered by the `x-simulate` header."""
        port = free_port()
        command = [self.tollway, "simulate", "--listen", f"127.0.0.1:{port}"]
        return self.add("backend", command, port)

    def nginx(self, backend):
        http = (
            f"upstream out {{ server {backend.address}; keepalive 256; keepalive_requests 1000000000; }}"
            " server { listen 127.0.0.1:PORT; location / { proxy_pass http://out; proxy_http_version 1.1;"
            ' proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 300s; } }'
        )
        return self._nginx("nginx", WORKERS, http)

    def haproxy(self, backend):
        port = free_port()
        config = pathlib.Path(self.dir.name) / f"haproxy-{port}.cfg"
        config.write_text(HAPROXY.format(workers=WORKERS, port=port, backend=backend.address))
        return self.add("haproxy", ["haproxy", "-db", "-f", str(config)], port)

    def tollway_with(self, policy, backend, under=()):
        port = free_port()
        command = [
            *(*under, self.tollway, "serve", str(BENCHES / "policies" / f"{policy}.yaml")),
            *("--listen", f"127.0.0.1:{port}", "--admin-listen", "127.0.0.1:0"),
        ]
        env = {"BENCH_BACKEND": backend.address}
        return self.add(f"tollway {policy}", command, port, env)

    def all(self, backend):
        return [
            backend,
            self.nginx(backend),
            self.haproxy(backend),
            self.tollway_with("empty", backend),
            self.tollway_with("full", backend),
        ]
