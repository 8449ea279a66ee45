"""Time the transcript of a sound file: xpipe on its Go engine and faster-whisper in int8 (CTranslate2) with the
same weights and threads, greedy, in turns in one run, each in a process that has its model open.

python bench.py --program CLIENTS --sound FILE --model BUNDLE --peer FOLDER [--threads N ...] [--runs N]
prints seconds (median), peak memory and ratios, of the seconds that processors were busy too."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


class Client:
    def __init__(self, name, command):
        self.name, self.seconds, self.busy, self.text = name, [], [], None
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, sound, counts):
        before = self.processor()
        self.process.stdin.write(json.dumps({"sound": str(sound)}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.text = answer["text"]
        if counts:
            self.seconds.append(answer["seconds"])
            self.busy.append(self.processor() - before)

    def processor(self):
        """Return the seconds of processors that the process has had."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        """Return the peak of the process's memory in MB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        self.process.stdin.close()
        self.process.wait()
        return int(status.split("VmHWM:")[1].split()[0]) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--sound", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    for threads in args.threads:
        ours = Client("xpipe", [args.program, "transcripts", "--model", args.model, "--threads", threads])
        theirs = Client("faster-whisper", [sys.executable, HERE / "faster.py", args.peer, threads])
        for run in range(args.runs + 1):  # the first warms up
            for client in (ours, theirs):
                client.ask(args.sound, run > 0)
        (a, b), (x, y) = ([statistics.median(c.seconds) for c in (ours, theirs)], [c.close() for c in (ours, theirs)])
        print(f"{threads} threads: xpipe {a:.2f} s, {x:.0f} MB; faster-whisper {b:.2f} s, {y:.0f} MB; "
              f"time {a / b:.2f} [{min(p / q for p, q in zip(ours.seconds, theirs.seconds)):.2f} to "
              f"{max(p / q for p, q in zip(ours.seconds, theirs.seconds)):.2f}], "
              f"processor {statistics.median(ours.busy) / statistics.median(theirs.busy):.2f}, memory {x / y:.2f}")
        if ours.text.split() != theirs.text.split():
            print(f"  texts differ:\n  xpipe: {ours.text}\n  faster-whisper: {theirs.text}")


main()
