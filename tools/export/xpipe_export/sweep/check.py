"""Exports what the sweep has made, and compares what the bundles answer with what transformers did."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
from pathlib import Path

from ..cli import export_checkpoint
from ..program import find
from .__main__ import place

NEAR = 2e-4
"""Two best scores that are nearer than this may change places on another engine."""
ENGINES = ("go", "ort")


def run(root: Path, names: list[str], seeds: range, saved: list[str]) -> int:
    """Check all checkpoints that are there; prints a line for each that is not exact, and the sums."""
    program, bad, sums = find(), 0, {}
    if program is None:
        raise SystemExit("no xpipe program: set XPIPE")
    for name in names:
        for how in saved:
            for seed in seeds:
                folder = place(root, name, seed, how)
                if not (folder / "expected.json").is_file():
                    continue
                said = checked(folder, program)
                count = sums.setdefault((name, how), [0, 0])
                count[0] += said.get("equal", 0)
                count[1] += said.get("rows", 0)
                if said.get("wrong"):
                    bad += 1
                    for line in said["wrong"]:
                        print(f"{name}-{seed} {how}: {line}", flush=True)
    for (name, how), (equal, all_rows) in sums.items():
        print(f"{name:20} {how:4} {equal} of {all_rows}")
    return 1 if bad else 0


def checked(folder: Path, program: Path) -> dict:
    """How many rows there are and are equal, and what is wrong, in words."""
    expected = json.loads((folder / "expected.json").read_text())["rows"]
    bundle = folder / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    try:
        export_checkpoint(str(folder / "checkpoint"), str(bundle), progress=False, reader=program)
    except Exception as e:
        return {"wrong": [f"export: {type(e).__name__}: {' '.join(str(e).split())[:300]}"]}
    finally:
        gc.collect()
    rows = [r for r in expected if "fails" not in r]
    wrong = [f"transformers fails: {' '.join(r['command'][:1])}: {r['fails']}" for r in expected if "fails" in r][:1]
    equal = 0
    for engine in ENGINES:
        for row in rows:
            done = subprocess.run([str(program), *row["command"], "--model", str(bundle), "--engine", engine, "--json"],
                                  capture_output=True, text=True, check=False)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            why = f"status {done.returncode}: {done.stderr.strip() or done.stdout[:200]}" if done.returncode else compare(row, lines)
            equal += not why
            if why:
                wrong.append(f"{engine} {row['command'][0]} {Path(row['command'][1]).name} {row['command'][2:3]}: {why[:300]}")
        wrong += together([r for r in rows if r["command"][0] == "caption"], [str(program)], ["--model", str(bundle), "--engine", engine])
    return {"rows": len(rows) * len(ENGINES), "equal": equal, "wrong": wrong}


def together(rows: list[dict], program: list[str], flags: list[str]) -> list[str]:
    """What is different, in words, where captions are written in one batch."""
    if len(rows) < 2:
        return []
    command = [*program, "caption", *(r["command"][1] for r in rows), "--batch", str(len(rows)), *flags, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"{flags[-1]} a batch of captions: status {done.returncode}: {done.stderr.strip()[:300]}"]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [f"{flags[-1]} caption {Path(r['command'][1]).name} in a batch: {why[:300]}"
            for r, line in zip(rows, lines, strict=True) if (why := compare(r, [line]))]


def compare(row: dict, lines: list[dict]) -> str:
    """What is different, or nothing."""
    if "probabilities" in row:
        got = [line["probability"] for line in lines]
        far = max(abs(a - b) for a, b in zip(got, row["probabilities"], strict=True))
        return f"{got} for {row['probabilities']}" if far > 1e-4 else ""
    if "logprobs" in row:
        return "" if abs(lines[0]["logprob"] - max(row["logprobs"])) < 1e-4 else f"{lines[0]['logprob']} for {max(row['logprobs'])}"
    got, want = list(lines[0]["ids"]), list(row["ids"])
    ended = want[:len(got)] if len(want) > len(got) else want
    rest = want[len(got):]
    if got == ended and len(set(rest)) <= 2 and len(want) >= len(got):  # the end, and padding behind it
        return ""
    first = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    gap = f", where the two best were {row['gaps'][first]:.2g} apart" if first < len(row.get("gaps", ())) else ""
    if first < len(row.get("gaps", ())) and row["gaps"][first] < NEAR:
        return ""
    return f"other ids from place {first} on{gap}: {got} for {want}"
