"""What the clients of dialects share: the built program as a server, and what the command says in its place."""
import contextlib
import json
import pathlib
import re
import subprocess
import sys
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES = ROOT / "testdata/images"


@contextlib.contextmanager
def served(program, *flags, env=None):
    """Starts the program on a port of its own and gives the address. At the end it has to end by itself."""
    process = subprocess.Popen(
        [program, "serve", "--listen", "127.0.0.1:0", *flags], stderr=subprocess.PIPE, text=True, env=env)
    drain = None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"listening at (http://\S+)", line):
                break
        else:
            raise SystemExit(f"the server did not start:\n{said}")
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield found[1]
    finally:
        process.terminate()
        code = process.wait(30)
        if drain:
            drain.wait(10)
        assert code == 0, f"the server ended with {code}"


def command(program, *args):
    """What the command says in a terminal: a list of its JSON lines."""
    out = subprocess.run([program, *map(str, args), "--json"], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def run(checks, *args):
    """Runs checks, all or those named on the command line, and ends with 1 where one fails."""
    names = sys.argv[2:]
    failed = 0
    for check in checks:
        if names and check.__name__ not in names:
            continue
        try:
            check(*args)
            print(f"ok    {check.__name__}")
        except Exception:
            failed += 1
            print(f"FAIL  {check.__name__}")
            traceback.print_exc()
    return 1 if failed else 0
