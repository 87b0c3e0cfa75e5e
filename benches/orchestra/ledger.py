"""What the thread that writes the ledger takes of the process's CPU while all cores are busy."""

import pathlib
from statistics import median

from servers import BENCHES, Lab, free_port

PLACES = {"in memory": "{ ledger: memory }", "in a file": "{{ ledger: {{ sqlite: '{folder}/ledger.db' }} }}"}
THREAD = "tollway-ledger"
WARM_UP = 1


def run(bench, tollway, repeat, seconds):
    """{where: (requests/s, CPU µs a request, the thread's µs a request, its share in %)}, medians of the rounds."""
    found = {place: [] for place in PLACES}
    with Lab(tollway) as lab:
        backend = lab.json_backend()
        servers = {place: start(lab, backend, state) for place, state in PLACES.items()}
        for _ in range(repeat):
            for place, server in servers.items():
                bench.wrk(server, WARM_UP)
                before = times(server)
                requests, took = bench.wrk(server, seconds)
                thread, whole = (now - then for now, then in zip(times(server), before))
                micros = [time / requests / 1e3 for time in (whole, thread)]
                found[place].append((requests / took, *micros, thread / whole * 100))
    return {place: tuple(median(column) for column in zip(*rounds)) for place, rounds in found.items()}


def start(lab, backend, state):
    port = free_port()
    policy = pathlib.Path(lab.dir.name) / f"{port}.yaml"
    state = state.format(folder=lab.dir.name) if "{{" in state else state
    policy.write_text((BENCHES / "policies/full.yaml").read_text() + f"\nstate: {state}\n")
    command = [lab.tollway, "serve", str(policy), "--listen", f"127.0.0.1:{port}", "--admin-listen", "127.0.0.1:0"]
    return lab.add("tollway", command, port, {"BENCH_BACKEND": backend.address})


def times(server):
    """Nanoseconds on a core so far: of the ledger's thread, and of all."""
    thread, whole = 0, 0
    for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
        time = int((task / "schedstat").read_text().split()[0])
        whole += time
        thread += time if (task / "comm").read_text().strip() == THREAD else 0
    if not thread:
        raise SystemExit(f"there is no thread {THREAD}")
    return thread, whole
