"""python bench.py --program CLIENTS --node FOLDER --ort LIBRARY: a caption of 16 tokens from a JPEG's bytes to the text, by
xpipe's two engines, by ONNX Runtime through Python and by transformers.js under node.

Each is one process with the model open, warmed up, and asked in turns for the same photograph's caption: 16 new tokens,
greedy, no end. The models are those of bench_models.py. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import bench_models

HERE = Path(__file__).resolve().parent
PEERS = {"go": {"python": 0.9, "transformers.js": 0.5}, "ort": {"python": 0.9, "transformers.js": 0.5}}
"""What an engine's time is to be of a client's, at most."""


class Client:
    def __init__(self, name: str, command: list, cwd: Path | None = None):
        self.name, self.seconds, self.ids = name, [], None
        self.process = subprocess.Popen(list(map(str, command)), cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, image: Path, tokens: int, counts: bool = True) -> None:
        self.process.stdin.write(json.dumps({"image": str(image), "tokens": tokens}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended")
        answer = json.loads(line)
        self.ids = answer["ids"]
        if len(self.ids) != tokens:
            raise SystemExit(f"{self.name} wrote {len(self.ids)} tokens, not {tokens}")
        if counts:
            self.seconds.append(answer["seconds"])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def clients(args, name: str, folder: Path, threads: int) -> list[Client]:
    xpipe = [args.program, "texts", "--model", folder, "--threads", threads]
    made = [Client("go", [*xpipe, "--engine", "go"]), Client("ort", [*xpipe, "--engine", "ort", "--ort-lib", args.ort]),
            Client("python", [sys.executable, HERE / "serve.py", folder, name, threads])]
    if args.node:
        made.append(Client("transformers.js", ["node", "serve.mjs", folder, name, threads], args.node))
    return made


def measure(args, name: str, threads: int) -> dict:
    folder = bench_models.make(name, args.models.resolve())
    asked = clients(args, name, folder, threads)
    for counts in [False] * args.warm + [True] * args.runs:
        for c in asked:
            c.ask(folder.parent / "photo.jpg", args.tokens, counts)
    for c in asked:
        c.close()
    by_name = {c.name: c for c in asked}
    result = {"model": name, "threads": threads, "tokens": args.tokens, "runs": args.runs,
              "seconds": {c.name: c.seconds for c in asked}, "ratios": {}, "same_ids": {c.name: c.ids == asked[0].ids for c in asked}}
    for engine, peers in PEERS.items():
        for peer, most in peers.items():
            if peer in by_name:
                pairs = [a / b for a, b in zip(by_name[engine].seconds, by_name[peer].seconds)]
                result["ratios"][f"{engine}/{peer}"] = {"median": statistics.median(pairs), "at_most": most}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.py")
    parser.add_argument("--program", required=True, type=Path, help="tools/clients, built")
    parser.add_argument("--node", type=Path, help="a folder with node_modules and serve.mjs")
    parser.add_argument("--ort", required=True, help="ONNX Runtime's library")
    parser.add_argument("--models", type=Path, default=HERE.parents[1] / "build" / "clients-bench")
    parser.add_argument("--only", nargs="*", choices=list(bench_models.MODELS), default=list(bench_models.MODELS))
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--make", action="store_true", help="make the models, no more")
    parser.add_argument("--out", type=Path, help="file for JSON lines")
    args = parser.parse_args()
    args.program = args.program.resolve()
    for name in args.only:
        if args.make:
            bench_models.make(name, args.models.resolve())
            continue
        for threads in args.threads:
            result = measure(args, name, threads)
            times = ", ".join(f"{k} {statistics.median(v) * 1000:.0f} ms" for k, v in result["seconds"].items())
            ratios = ", ".join(f"{k} {v['median']:.2f} (at most {v['at_most']})" for k, v in result["ratios"].items())
            differ = [k for k, same in result["same_ids"].items() if not same]
            print(f"{name}, {threads} thread{'s' * (threads > 1)}: {times}\n    {ratios}"
                  f"{'; other ids than go: ' + ', '.join(differ) if differ else ''}", flush=True)
            if args.out:
                with open(args.out, "a") as out:
                    out.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
