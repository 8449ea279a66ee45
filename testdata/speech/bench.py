"""Time the transcript of a sound file: xpipe on its Go engine, faster-whisper in int8 (CTranslate2) and, given its
file, whisper.cpp in float16, with the same weights and threads, greedy, in turns in one run, each in a process
that has its model open.

python bench.py --program CLIENTS --sound FILE --model BUNDLE --peer FOLDER [--ggml FILE] [--threads N ...] [--runs N]
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
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended before it answered: see above")
        answer = json.loads(line)
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
    parser.add_argument("--ggml", help="the same weights for whisper.cpp, of ggml.py")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    for threads in args.threads:
        ours = Client("xpipe", [args.program, "transcripts", "--model", args.model, "--threads", threads])
        others = [Client("faster-whisper", [sys.executable, HERE / "faster.py", args.peer, threads])]
        if args.ggml:
            others.append(Client("whisper.cpp", [sys.executable, HERE / "cpp.py", args.ggml, threads]))
        for run in range(args.runs + 1):  # the first warms up
            for client in (ours, *others):
                client.ask(args.sound, run > 0)
        memory = ours.close()
        print(f"{threads} threads: xpipe {statistics.median(ours.seconds):.2f} s, {memory:.0f} MB")
        for other in others:
            compare(ours, memory, other)


def compare(ours, memory, other):
    """Print other's figures and what those of ours are of them; memory is the peak of ours in MB."""
    theirs, times = other.close(), [a / b for a, b in zip(ours.seconds, other.seconds)]
    print(f"  {other.name} {statistics.median(other.seconds):.2f} s, {theirs:.0f} MB; "
          f"time {statistics.median(ours.seconds) / statistics.median(other.seconds):.2f} "
          f"[{min(times):.2f} to {max(times):.2f}], "
          f"processor {statistics.median(ours.busy) / statistics.median(other.busy):.2f}, memory {memory / theirs:.2f}")
    if ours.text.split() != other.text.split():
        print(f"  texts differ:\n    xpipe: {ours.text}\n    {other.name}: {other.text}")


main()
