"""`cargo bench` of each layer crate, read from divan's table."""

import pathlib
import re
import subprocess

# Parts of a layer's work, without a service under them.
PURE = re.compile("decide|client_ip|copy|find_|read_|splice")
# Benchmarks that name their bare service otherwise.
BARE = {"json_call true": "json_call false"}
UNITS = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}


def nanoseconds(text):
    number, unit = text.split()
    return float(number) * UNITS[unit]


def read(table):
    """{case: (median in ns, allocations)} of one divan table."""
    cases, path, case, block = {}, [], None, None
    for line in table.splitlines():
        named = re.match(r"^((?:│  |   )*)[├╰]─ (\S+)\s+(.*)$", line)
        if named:
            depth = len(named[1]) // 3
            path = [*path[:depth], named[2]]
            columns = [part.strip() for part in named[3].split("│")]
            case = None
            if len(columns) > 4 and columns[2]:
                case, block = " ".join(path), None
                cases[case] = (nanoseconds(columns[2]), 0.0)
            continue
        if case is None:
            continue
        # Allocations stand in blocks under the case; the count is the first line of its block.
        columns = [part.strip() for part in re.sub(r"^[│ ]+", "", line).split("│")]
        if columns[0].endswith(":"):
            block = columns[0]
        elif block == "alloc:" and len(columns) > 2:
            cases[case] = (cases[case][0], float(columns[2]))
            block = None
    return cases


def run(root, repeat):
    """[(layer, case, ns, ns over bare or None, allocations over bare)]: the best of the runs."""
    rows = []
    for bench in sorted(pathlib.Path(root, "layers").glob("*/benches/*.rs")):
        layer, name = bench.parent.parent.name, bench.stem
        command = ["cargo", "bench", "-q", "-p", f"tollway-{layer}", "--bench", name]
        runs = []
        for _ in range(repeat):
            out = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
            runs.append(read(out.stdout))
        for case in runs[0]:
            # The least disturbed run: this machine may be busy, and noise only ever adds.
            ns, allocations = min(run[case] for run in runs)
            argument = case.partition(" ")[2]
            bases = (BARE.get(case), f"bare {argument}", "bare")
            bare = next((key for key in bases if key in runs[0] and not PURE.match(case)), None)
            if case in (bare, "bare", *BARE.values()) or case.startswith("bare "):
                continue
            if bare:
                floor, held = min(run[bare] for run in runs)
                rows.append((layer, case, ns, ns - floor, allocations - held))
            else:
                rows.append((layer, case, ns, None, allocations))
    return rows


def table(rows):
    lines = ["| layer | case | ns | over the bare service | allocations |", "|---|---|--:|--:|--:|"]
    for layer, case, ns, over, allocations in rows:
        over = "" if over is None else f"{over:.0f} ns"
        lines.append(f"| {layer} | {case} | {ns:.0f} | {over} | {allocations:g} |")
    return "\n".join(lines)
