"""Times xpipe read and RapidOCR over the same pages, each in a process of its own, in turns.

    python testdata/ocr/bench.py PAGES --xpipe build/xpipe [--runs 3] [--threads 2]

Printed are pages a minute (median of the runs), the seconds that processors were busy, and the peak
of memory. Both read all PNG files of the folder; opening the models counts for both.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CHILD = """
import sys
from rapidocr import RapidOCR
threads = int(sys.argv[1])
reader = RapidOCR(params={"Global.log_level": "error", "EngineConfig.onnxruntime.intra_op_num_threads": threads})
for file in sys.argv[3:]:
    print(file, len(reader(file, use_cls=sys.argv[2] == "with").txts or ()))
"""


def run(command):
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[:3]} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--xpipe", default="build/xpipe")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="files of this pattern", default="*.png")
    args = parser.parse_args()
    files = [str(f) for f in sorted(args.pages.glob(args.only))]
    ways = {
        "xpipe": [args.xpipe, "read", "--engine", "go", "--threads", str(args.threads), "--json", *files],
        "RapidOCR": [sys.executable, "-c", CHILD, str(args.threads), "with", *files],
        "RapidOCR without classifier": [sys.executable, "-c", CHILD, str(args.threads), "without", *files],
    }
    taken = {name: [] for name in ways}
    for _ in range(args.runs):
        for name, command in ways.items():
            taken[name].append(run(command))
    print(f"{len(files)} pages, {args.threads} threads, {args.runs} runs in turns")
    base = statistics.median(t[0] for t in taken["xpipe"])
    for name, runs in taken.items():
        seconds, busy, memory = (statistics.median(column) for column in zip(*runs))
        print(f"{name:28} {60 * len(files) / seconds:7.1f} pages a minute  busy {busy:6.1f} s  peak {max(r[2] for r in runs):6.0f} MB"
              f"  xpipe is {seconds / base:.2f} times as fast")


main()
