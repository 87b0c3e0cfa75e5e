"""`bash benches/run [PART...]`: see README.md."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
from statistics import median

import instructions
import layers
import ledger
from proxy import Bench, added, ratio
from scale import INSTANCES, Scale

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
README = ROOT / "benches/README.md"
PROXY = ["throughput", "latency", "streams", "memory"]
SYSTEMS = ["direct", "nginx", "haproxy", "tollway empty", "tollway full"]


def options():
    parser = argparse.ArgumentParser(prog="bash benches/run")
    parser.add_argument("parts", nargs="*", help=f"layers, instructions, scale, ledger, proxy (all of {', '.join(PROXY)}), or one")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions (medians are shown)")
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--nice", action="store_true", help="measure latency at a raised priority (root)")
    parser.add_argument("--tollway", help="a binary that is already built")
    parser.add_argument("--before", help="for instructions: the binary to compare with")
    parser.add_argument("--dry", action="store_true", help="leave README.md as it is")
    chosen = parser.parse_args()
    known = {"layers": ["layers"], "instructions": ["instructions"], "scale": ["scale"], "ledger": ["ledger"], "proxy": PROXY, **{part: [part] for part in PROXY}}
    for part in chosen.parts:
        if part not in known:
            parser.error(f"no part {part}; there are {', '.join(known)}")
    if ("instructions" in chosen.parts) != bool(chosen.before):
        parser.error("instructions and --before BINARY go together")
    chosen.parts = [one for part in chosen.parts or ["layers", "proxy"] for one in known[part]]
    return chosen


def build(package, *more):
    """The path of a release binary, built now."""
    command = ["cargo", "build", "--release", "--message-format=json", *more]
    out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in reversed(out.splitlines()):
        built = json.loads(line)
        if built.get("executable") and built["target"]["name"] == package:
            return built["executable"]
    raise SystemExit(f"cargo built no {package}")


def cell(found, figure, system, digits, suffix=""):
    values = found[figure].get(system)
    return f"{median(values):,.{digits}f}{suffix}" if values else ""


def over(found, figure, system, base="nginx"):
    return f"{ratio(found, figure, system, base):.2f}" if system in found[figure] else ""


def grid(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def throughput(found):
    return grid(
        ["64 connections", "requests/s", "to nginx", "CPU µs/request", "to nginx"],
        [
            [
                *(system, cell(found, "rps", system, 0), over(found, "rps", system)),
                # Direct there is no proxy: that CPU is the backend's, which all of them need.
                *(cell(found, "cpu_request", system, 1), over(found, "cpu_request", system)),
            ]
            for system in SYSTEMS
            if system in found["rps"]
        ],
    )


def latency(found):
    rows = []
    for system in SYSTEMS:
        plus = [
            f"{added(found, figure, system):+.0f}" if system != "direct" else "" for figure in ("p50", "p99")
        ]
        # On a busy machine HAProxy's p99 may come out below direct's: then there is no ratio.
        to = [
            f"{added(found, figure, system) / added(found, figure, 'haproxy'):.2f}"
            if system.startswith(("tollway", "nginx")) and added(found, figure, "haproxy") > 0
            else ""
            for figure in ("p50", "p99")
        ]
        rows.append(
            [system, cell(found, "p50", system, 0), plus[0], to[0]]
            + [cell(found, "p99", system, 0), plus[1], to[1]]
        )
    return grid(
        ["200 requests/s", "p50 µs", "added", "to haproxy's", "p99 µs", "added", "to haproxy's"], rows
    )


def streams(found):
    rows = []
    for system in SYSTEMS:
        plus = [
            f"{added(found, figure, system):+.0f}" if system != "direct" else ""
            for figure in ("ttft_p50", "ttft_p99")
        ]
        rows.append(
            [system, cell(found, "ttft_p50", system, 0), plus[0], cell(found, "ttft_p99", system, 0), plus[1]]
            + [cell(found, "events", system, 0), cell(found, "cpu_event", system, 2)]
            + [over(found, "cpu_event", system)]
        )
    head = ["streams", "first token p50 µs", "added", "p99 µs", "added", "events/s", "CPU µs/event", "to nginx"]
    return grid(head, rows)


def memory(found):
    return grid(
        ["memory in MB", "idle Rss", "idle Pss", "1,000 streams Rss", "1,000 streams Pss"],
        [
            [system, *(cell(found, figure, system, 1) for figure in ("idle_rss", "idle_pss", "open_rss", "open_pss"))]
            for system in SYSTEMS
            if system in found["idle_rss"]
        ],
    )


def scaled(scale):
    let_in = grid(
        [f"{INSTANCES} instances", "allowed/s", "offered requests/s", "let in/s", "off", "p50 µs", "p99 µs"],
        [
            [unit, f"{allowed:,}", f"{offered:,.0f}", f"{admitted:,.0f}", f"{off:+.2f} %", f"{p50:,.0f}", f"{p99:,.0f}"]
            for unit, allowed, offered, admitted, off, p50, p99 in scale.admitted()
        ],
    )
    asked = grid(
        ["200 requests/s, five limits in", "p50 µs", "p99 µs", "CPU µs/request"],
        [[name, *(f"{figure:,.0f}" for figure in figures)] for name, *figures in scale.added()],
    )
    felt = grid(
        ["200 requests/s, timeout 20 ms; to Redis", "p50 ms", "p99 ms", "longest ms", "failed"],
        [
            [what, *(f"{time / 1000:.2f}" for time in times), str(failed)]
            for what, *times, failed in scale.away()
        ],
    )
    return f"{let_in}\n\n{asked}\n\n{felt}"


def written(found):
    return grid(
        ["the ledger, 64 connections", "requests/s", "CPU µs/request", "its thread's", "share"],
        [
            [place, f"{rps:,.0f}", f"{whole:.1f}", f"{thread:.2f}", f"{share:.1f} %"]
            for place, (rps, whole, thread, share) in found.items()
        ],
    )


def compared(found):
    rows = [
        [policy, f"{before:,}", f"{now:,}", f"{now / before:.3f}"] for policy, (before, now) in found.items()
    ]
    return grid(["instructions a request", "before", "now", "ratio"], rows)


def machine():
    """What the figures were taken on."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", text)
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])

    def version(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            return f"no {command[0]}"
        return (done.stdout + done.stderr).splitlines()[0].split(" - ")[0].replace("nginx version: ", "")

    commit = version("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    return (
        f"{datetime.date.today()}, commit {commit}: {os.cpu_count()} cores of {model[1] if model else '?'}, "
        f"{memory / 1e6:.0f} GB, Linux {platform.release()}, {version('rustc', '--version')}, "
        f"{version('nginx', '-v')}, {version('haproxy', '-v')}"
    )


def publish(part, text, dry):
    """Between the part's markers in README.md."""
    print(f"\n## {part}\n\n{text}\n", flush=True)
    if dry:
        return
    page = README.read_text()
    pattern = re.compile(rf"(<!-- {part} -->\n).*?(<!-- /{part} -->)", re.S)
    if not pattern.search(page):
        raise SystemExit(f"README.md has no marker for {part}")
    README.write_text(pattern.sub(lambda at: f"{at[1]}\n{text}\n\n{at[2]}", page))


def main():
    chosen = options()
    os.environ["PATH"] += ":/usr/sbin"
    note = f"{machine()}. Load when it began: {os.getloadavg()[0]:.1f}."
    bench, tollway = None, chosen.tollway
    for part in chosen.parts:
        if part == "layers":
            text = layers.table(layers.run(ROOT, min(chosen.repeat, 3)))
            publish(part, f"{text}\n\n{note}", chosen.dry)
            continue
        tollway = tollway or build("tollway", "-p", "tollway")
        if part == "instructions":
            publish(part, f"{compared(instructions.run(chosen.before, tollway))}\n\n{note}", chosen.dry)
            continue
        if part == "scale" or bench is None:
            target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "load"
            manifest = ("--manifest-path", "benches/load/Cargo.toml", "--target-dir", str(target))
            load = build("tollway-load", *manifest)
            if part == "scale":
                publish(part, f"{scaled(Scale(tollway, load, chosen))}\n\n{note}", chosen.dry)
                continue
            bench = Bench(tollway, load, chosen)
        if part == "ledger":
            found = ledger.run(bench, tollway, chosen.repeat, chosen.seconds)
            how = f"Medians of {chosen.repeat} rounds of {chosen.seconds} s."
            publish(part, f"{written(found)}\n\n{how} {note}", chosen.dry)
            continue
        getattr(bench, part)()
        text = globals()[part](bench.found)
        how = f"Medians of {chosen.repeat} repetitions of {chosen.seconds} s."
        if part == "memory":
            how = f"Medians of {min(chosen.repeat, 3)} repetitions."
        publish(part, f"{text}\n\n{how} {note}", chosen.dry)
        print(json.dumps(bench.found), file=sys.stderr)


if __name__ == "__main__":
    main()
