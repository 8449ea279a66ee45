"""How --threads and --batch change the speed and the memory of the command: a table in Markdown.

    batch.py XPIPE [ROUNDS]

Every setting runs over the same small pictures in turns, so that other load on the machine slows all
alike. A row has medians over the rounds: pictures a second against the first setting of its verb in
the same round, processor time a picture, and the peak of resident memory. Linux.
"""

import os
import pathlib
import statistics
import sys
import tempfile
import time

PICTURES = 100
SETTINGS = [(1, 1), (1, 8), (1, 32), (2, 1), (2, 8), (2, 32)]
IMAGES = pathlib.Path(__file__).parents[2] / "testdata" / "images"


def run(xpipe: str, verb: str, folder: str, threads: int, batch: int) -> tuple[float, float, float]:
    """Wall and processor seconds, and MB at the peak, of one run over the folder."""
    start = time.monotonic()
    child = os.posix_spawn(xpipe, [
        xpipe, verb, folder, "--engine", "go", "--json", "--threads", str(threads),
        "--batch", str(batch), "--jobs", str(threads),
    ], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"xpipe {verb} failed")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


def main() -> None:
    xpipe, rounds = os.path.abspath(sys.argv[1]), int((sys.argv[2:] or ["3"])[0])
    sources = sorted(p for p in IMAGES.iterdir() if p.suffix in (".png", ".jpg"))
    with tempfile.TemporaryDirectory() as folder:
        for i in range(PICTURES):
            source = sources[i % len(sources)]
            os.symlink(source, f"{folder}/{i:03}{source.suffix}")
        print("| verb | threads | batch | pictures/s, to the first | processor ms a picture | peak MB |")
        print("|---|---|---|---|---|---|")
        for verb in ("caption", "embed"):
            runs = {s: [] for s in SETTINGS}
            for _ in range(rounds):
                for s in SETTINGS:
                    runs[s].append(run(xpipe, verb, folder, *s))
            for s in SETTINGS:
                faster = statistics.median(a[0] / b[0] for a, b in zip(runs[SETTINGS[0]], runs[s]))
                cpu = statistics.median(r[1] for r in runs[s]) / PICTURES * 1e3
                peak = max(r[2] for r in runs[s])
                print(f"| {verb} | {s[0]} | {s[1]} | {faster:.2f} | {cpu:.0f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
