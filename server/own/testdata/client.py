"""The server's own routes beside the command's --json; what describes them is valid OpenAPI 3.1.

    client.py PROGRAM [CHECK ...]
"""
import json
import pathlib
import subprocess
import sys

import openapi_spec_validator
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testdata"))
from served import IMAGES, ROOT, command, run, served  # noqa: E402

APPLE, CIRCLE = IMAGES / "apple.png", IMAGES / "red-circle.png"
JFK = ROOT / "testdata/speech/jfk.flac"


def ask(url, verb, files, fields=(), status=200):
    """The lines of an answer."""
    key = "audio" if verb == "transcribe" else "image"
    r = requests.post(f"{url}/xpipe/v1/{verb}", files=[(key, (p.name, p.read_bytes())) for p in files] or [("", "")],
                      data=list(fields), timeout=300)
    assert r.status_code == status, (r.status_code, r.text)
    return [json.loads(line) for line in r.text.splitlines()]


def same(mine, theirs, names):
    """Lines are the command's, but for seconds, folders, and rounding in batches."""
    def near(a, b):
        if isinstance(a, float) and isinstance(b, float):
            return abs(a - b) < 1e-5
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(near(a[k], b[k]) for k in a if k != "seconds")
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(map(near, a, b))
        return a == b
    for line in theirs:
        for key in "image", "audio":
            if key in line:
                line[key] = pathlib.Path(line[key]).name
    assert near(mine, theirs), f"{names}:\n{mine}\n{theirs}"


def verbs(url, program):
    for verb, files, arguments, fields in [
        ("caption", [APPLE], [], []),
        ("caption", [APPLE, CIRCLE], ["--num-beams", 3, "--max-new-tokens", 4], [("num_beams", 3), ("max-new-tokens", 4)]),
        ("caption", [APPLE], ["--do-sample", "--seed", 7, "--temperature", 1.5],
         [("do-sample", "true"), ("seed", 7), ("temperature", 1.5)]),
        ("ask", [CIRCLE], ["what color is it?"], [("question", "what color is it?")]),
        ("ask", [CIRCLE], ["is it red?", "--choices", "yes,no"], [("question", "is it red?"), ("choices", "yes,no")]),
        ("match", [APPLE], ["an apple", "a rocket"], [("text", "an apple"), ("text", "a rocket")]),
        ("classify", [APPLE], ["apple", "rocket", "--top", 1], [("labels", "apple,rocket"), ("top", 1)]),
        ("embed", [APPLE], ["--text", "an apple"], [("text", "an apple")]),
        ("attend", [APPLE], [], []),
        ("transcribe", [JFK], ["--temperature", 0], [("temperature", 0)]),
    ]:
        same(ask(url, verb, files, fields), command(program, verb, *files, *arguments), (verb, arguments))


def document(url, program):
    description = requests.get(f"{url}/openapi.json", timeout=60).json()
    openapi_spec_validator.validate(description, cls=openapi_spec_validator.OpenAPIV31SpecValidator)
    for verb in "caption", "ask", "match", "classify", "embed", "attend", "transcribe", "read":
        assert f"/xpipe/v1/{verb}" in description["paths"], verb
    for path in "/v1/chat/completions", "/api/chat", "/predict", "/v2/models/{model}", "/api/v1/vision/caption":
        assert path in description["paths"], path


def errors(url, program):
    said, = ask(url, "read", [APPLE], status=501)
    assert said["kind"] == "unsupported", said
    said, = ask(url, "caption", [APPLE], [("num_beam", 2)], status=400)
    assert "num-beams" in said["error"], said
    said, = ask(url, "caption", [pathlib.Path(__file__)], status=400)
    assert said["kind"] == "image", said


def kubernetes(url, program):
    subprocess.run([pathlib.Path(sys.executable).parent / "kubernetes-validate", "--strict", "--quiet", ROOT / "deploy/deployment.yaml"],
                   check=True)


if __name__ == "__main__":
    with served(sys.argv[1], "--no-verify") as url:
        sys.exit(run([verbs, document, errors, kubernetes], url, sys.argv[1]))
