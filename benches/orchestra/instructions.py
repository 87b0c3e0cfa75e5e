"""Instructions that a request takes in user space, in two binaries: what callgrind counts, no load changes."""

import pathlib
import re
import socket
import subprocess

from proxy import HEADERS, chat
from servers import Lab

POLICIES = ["empty", "full"]
# The first ones set up connections, tables and series.
FIRST, COUNTED = 40, 300


def run(before, now):
    """{policy: (before, now)}, each of one request in the mean."""
    return {policy: (count(before, policy), count(now, policy)) for policy in POLICIES}


def count(tollway, policy):
    with Lab(tollway) as lab:
        out = pathlib.Path(lab.dir.name) / "callgrind"
        callgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        server = lab.tollway_with(policy, lab.json_backend(), under=callgrind)
        connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]

        def control(*what):
            command = ["callgrind_control", *what, str(server.process.pid)]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

        ask(connections, FIRST)
        control("-i", "on")
        ask(connections, COUNTED)
        control("-d")
        dump = out.with_suffix(".1").read_text()
        return int(re.search(r"^totals: (\d+)", dump, re.M)[1]) // COUNTED


def ask(connections, times):
    """One request after the other, each in one packet."""
    body = chat(False)
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    head += f"host: 127.0.0.1\r\ncontent-length: {len(body)}\r\n"
    request = f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n{body}".encode()
    for turn in range(times):
        connection = connections[turn % len(connections)]
        connection.sendall(request)
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += connection.recv(65536)
        head, _, body = reply.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not answered: {reply.decode()}")
        left = int(re.search(rb"content-length: (\d+)", head.lower())[1]) - len(body)
        while left > 0:
            left -= len(connection.recv(65536))
