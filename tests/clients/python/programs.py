"""Starts and ends the programs under test. Nothing here has a fixed port."""

import atexit
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("TOLLWAY", ROOT / "target" / "debug" / "tollway"))
POLICIES = Path(__file__).resolve().parents[1] / "policies"
DEADLINE = 20.0  # seconds that a program may take to start, to end, or to get where a test waits for it


class Program:
    """A running `tollway`: what it listens on is read from what it says when it starts."""

    ADDRESSES = re.compile(r"on (http://[^/\s]+)(?:/v1)?(?:, health and metrics on (http://\S+))?")

    def __init__(self, *args, **env):
        self.said = []
        self.url = self.admin = None
        self._started = threading.Event()
        self.process = subprocess.Popen(
            [str(BINARY), *map(str, args)],
            env={**{k: v for k, v in os.environ.items() if not k.startswith("TOLLWAY")}, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        # Whatever becomes of the tests, it does not outlive them.
        atexit.register(self.process.kill)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._started.wait(DEADLINE)
        if self.url is None:
            self._kill()
            raise RuntimeError(f"tollway {' '.join(map(str, args))} did not start:\n{''.join(self.said)}")

    def _read(self):
        for line in self.process.stderr:
            self.said.append(line)
            found = None if self._started.is_set() else self.ADDRESSES.search(line)
            if found:
                self.url, self.admin = found.groups()
                self._started.set()
        self._started.set()

    def _kill(self):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()
        atexit.unregister(self.process.kill)

    @property
    def v1(self):
        return self.url + "/v1"

    def stop(self):
        """Ends it as an operator would; it has to go in peace."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError("it did not end after SIGTERM:\n" + "".join(self.said)) from None
        finally:
            self._kill()
        assert code == 0, f"it ended with {code}:\n{''.join(self.said)}"


def simulator(*args):
    return Program("simulate", "--listen", "127.0.0.1:0", *args)


def proxy(policy, **env):
    path = POLICIES / f"{policy}.yaml"
    return Program("serve", path, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", **env)


def closed_port():
    """An address where nobody listens: bound, so that nobody else gets it, but never listened on."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder, "http://127.0.0.1:%d/v1" % holder.getsockname()[1]


def eventually(what, read, wanted):
    """Waits until `read()` gives what `wanted` accepts; the last value is told if it never does."""
    until = time.monotonic() + DEADLINE
    while True:
        value = read()
        if wanted(value):
            return value
        assert time.monotonic() < until, f"{what}: still {value}"
        time.sleep(0.005)
