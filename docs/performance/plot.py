"""Tables and pictures of docs/performance.md, from what `xpipe bench` measured.

    plot.py table build/bench/engines-1.jsonl ...          a Markdown table on stdout
    plot.py curves build/bench/curves.jsonl curves.svg     time over sizes, both engines
    plot.py profiles build/bench/*.top profiles.svg        where the Go engine's time goes

The first two read lines of `xpipe bench --json`, the last the output of
`go tool pprof -top`. `make bench-engines`, `bench-curves` and `bench-profiles` do it all.
"""

import json
import re
import sys
from pathlib import Path

AXES = {
    "tokens": "image tokens (Q-Former)",
    "batch": "images in a batch (Q-Former)",
    "layers": "layers (Q-Former)",
    "text": "tokens read at once (OPT-125m)",
    "cache": "tokens before the one added (OPT-125m)",
}


def reports(paths):
    return [json.loads(line) for path in paths for line in Path(path).read_text().splitlines() if line.strip()]


def table(paths):
    print("| graph | threads | go ms | ort ms | go/ort (quartiles) | processor time | go peak MB | ort peak MB | go/ort | go open ms | ort open ms | go/ort |")
    print("|" + "---|" * 12)
    for r in reports(paths):
        get = lambda name, form: format(r[name], form) if r.get(name) else ""
        print(
            f"| {r['graph'].removeprefix('builtin:')} | {r['threads']} | {get('go_ms', '.1f')} | {get('ort_ms', '.1f')} "
            f"| {get('ratio', '.2f')} ({get('ratio_low', '.2f')}-{get('ratio_high', '.2f')}) | {get('cpu_ratio', '.2f')} "
            f"| {get('go_peak_mb', '.0f')} | {get('ort_peak_mb', '.0f')} | {get('peak_ratio', '.2f')} "
            f"| {get('go_open_ms', '.0f')} | {get('ort_open_ms', '.0f')} | {get('open_ratio', '.2f')} |"
        )


def figure(panels, width=3.6, height=3.0):
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "xpipe"  # the same data gives the same file
    from matplotlib import pyplot

    columns = min(3, panels)
    rows = -(-panels // columns)
    fig, axes = pyplot.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False)
    flat = [a for row in axes for a in row]
    for a in flat[panels:]:
        a.axis("off")
    return fig, flat


def save(fig, out):
    fig.tight_layout()
    fig.savefig(out, metadata={"Date": None})


def curves(path, out):
    """Processor time, which other work on the machine disturbs less than wall time."""
    by_curve = {}
    for r in reports([path]):
        by_curve.setdefault(r["curve"], []).append(r)
    fig, axes = figure(len(by_curve))
    for axis, (name, points) in zip(axes, by_curve.items()):
        for key, label, style in (("go_cpu_ms", "Go engine", "o-"), ("ort_cpu_ms", "ONNX Runtime", "s--")):
            line = [(p.get("x", 0), p[key]) for p in points if p.get(key)]
            if line:
                axis.plot(*zip(*line), style, label=label, markersize=4)
        axis.set_xlabel(AXES.get(name, name))
        axis.set_ylabel("ms of processor time")
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.grid(alpha=0.3)
    axes[0].legend()
    save(fig, out)


def profiles(paths, out, most=8):
    """Flat shares of functions, the smaller ones as one."""
    row = re.compile(r"^\s*\S+\s+([\d.]+)%\s+[\d.]+%\s+\S+\s+[\d.]+%\s+(.+)$")
    fig, axes = figure(len(paths), width=4.6, height=2.6)
    for axis, path in zip(axes, paths):
        shares = [(float(m[1]), m[2].split("/")[-1]) for m in map(row.match, Path(path).read_text().splitlines()) if m]
        shares = [s for s in shares if s[0] > 0][:most]
        shares.append((max(0.0, 100 - sum(s for s, _ in shares)), "the rest"))
        names = [name for _, name in reversed(shares)]
        axis.barh(range(len(names)), [s for s, _ in reversed(shares)], color="#4477aa")
        axis.set_yticks(range(len(names)), names, fontsize=6)
        axis.set_title(Path(path).stem, fontsize=9)
        axis.set_xlabel("% of processor time", fontsize=8)
    save(fig, out)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["table", *paths] if paths:
            table(paths)
        case ["curves", path, out]:
            curves(path, out)
        case ["profiles", *paths, out] if paths:
            profiles(paths, out)
        case _:
            sys.exit(__doc__)
