"""What the clients in Python share: the server to test, and pictures and sounds as clients send them."""
import base64
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
IMAGES = ROOT / "testdata/images"
SPEECH = ROOT / "testdata/speech/jfk.flac"
SPOKEN = "my fellow Americans"


@contextlib.contextmanager
def server(program):
    """Starts the program on a port of its own and gives the address."""
    with tempfile.TemporaryDirectory() as folder:
        to = pathlib.Path(folder)
        for name in ["smolvlm-transformersjs", "qwen2vl-transformersjs", "llama-genai"]:
            shutil.copytree(ROOT / "testdata/layouts" / name, to / name)
        with_tools = to / "with-tools"
        shutil.copytree(ROOT / "testdata/layouts/qwen3vl-transformersjs", with_tools)
        shutil.copy(pathlib.Path(__file__).with_name("tools.jinja"), with_tools / "chat_template.jinja")
        process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--models", folder, "--alias", "gpt-4o=blip2-mini"],
            stderr=subprocess.PIPE, text=True)
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
            assert code == 0, f"the server ended with {code}"
            drain.wait(10)


def data_url(name):
    kind = "jpeg" if name.endswith(".jpg") else "png"
    return f"data:image/{kind};base64," + base64.b64encode((IMAGES / name).read_bytes()).decode()


def command(program, *args):
    """What the command says in a terminal, for comparison."""
    out = subprocess.run([program, *args, "--json"], check=True, capture_output=True, text=True).stdout
    return json.loads(out)
