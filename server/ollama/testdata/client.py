"""Ollama's client for Python against the built server. Usage: python client.py PROGRAM [CHECK ...]"""
import asyncio
import base64
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testdata"))
import httpx
import ollama
from served import IMAGES, ROOT, command, run, served

PROGRAM = sys.argv[1]
CHAT = "smolvlm-transformersjs"
checks = []


def check(f):
    checks.append(f)
    return f


def refused(call, status, says):
    try:
        call()
    except ollama.ResponseError as e:
        assert e.status_code == status and says in e.error, (e.status_code, e.error)
        return
    raise AssertionError("it was not refused")


def caption(name):
    return command(PROGRAM, "caption", IMAGES / name)[0]["caption"]


def answer(name, question):
    return command(PROGRAM, "ask", IMAGES / name, question)[0]["answer"]


def figures(r, tokens=None):
    assert r.done and r.done_reason in ("stop", "length"), r
    assert r.prompt_eval_count > 0 and r.eval_count > 0, r
    assert tokens is None or r.eval_count == tokens, r
    for d in (r.load_duration, r.prompt_eval_duration, r.eval_duration):
        assert 0 <= d <= r.total_duration < 60e9, r


@check
def lists(c):
    names = [m.model for m in c.list().models]
    assert {"blip2-mini:latest", "clip-mini:latest", f"{CHAT}:latest"} <= set(names), names
    shown = c.show("blip2-mini")
    assert shown.details.family == "blip2" and shown.capabilities == ["completion", "vision"], shown
    assert c.show("clip-mini:latest").capabilities == ["vision", "embedding"]
    assert shown.modelinfo["general.architecture"] == "blip2"


@check
def generate(c):
    r = c.generate("blip2-mini", "Describe the picture.", images=[IMAGES / "apple.png"], suffix="", think=False)
    assert r.response == caption("apple.png"), r
    figures(r)
    pieces = list(c.generate("blip2-mini", images=[(IMAGES / "apple.png").read_bytes()], stream=True))
    assert "".join(p.response for p in pieces) == r.response and len(pieces) > 1, pieces
    assert [p.done for p in pieces] == [False] * (len(pieces) - 1) + [True]
    figures(pieces[-1], r.eval_count)


@check
def chat(c):
    question = "what color is the shape?"
    said = [{"role": "user", "content": question, "images": [str(IMAGES / "red-circle.png")]}]
    r = c.chat("blip2-mini", said)
    assert r.message.role == "assistant" and r.message.content == answer("red-circle.png", question), r
    figures(r)
    pieces = list(c.chat("blip2-mini", said, stream=True))
    assert "".join(p.message.content for p in pieces) == r.message.content

    async def several():
        client = ollama.AsyncClient(host=str(c._client.base_url))
        return await asyncio.gather(*(client.chat("blip2-mini", said) for _ in range(8)))
    assert {a.message.content for a in asyncio.run(several())} == {r.message.content}


@check
def turns(c):
    """A model with a chat template reads all of a conversation, and several pictures."""
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is it?", "images": [str(IMAGES / "cat.jpg")]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "And these?", "images": [str(IMAGES / "apple.png"), str(IMAGES / "dog.png")]},
    ]
    r = c.chat(CHAT, said, options={"num_predict": 6})
    figures(r, 6)
    assert r.done_reason == "length"
    fewer = c.chat(CHAT, said[:2], options={"num_predict": 6})
    assert fewer.prompt_eval_count < r.prompt_eval_count


@check
def options(c):
    def write(**o):
        return c.generate(CHAT, "Say something.", images=[IMAGES / "cat.jpg"], options={"num_predict": 8, **o}).response
    greedy = write()
    assert write(temperature=0, seed=3) == greedy
    assert write(temperature=1.5, seed=7, top_k=0, top_p=1.0) == write(temperature=1.5, seed=7, top_k=0, top_p=1.0) != greedy
    assert len({write(temperature=2.0, top_k=0) for _ in range(4)}) > 1, "without a seed each text is the same"
    stop = greedy.split()[-1]
    assert write(stop=[stop]) == greedy[:greedy.index(stop)].strip()
    assert write(repeat_penalty=0.2) != greedy and write(repeat_penalty=0.2, repeat_last_n=0) == greedy
    assert write(num_ctx=4096, num_thread=2, num_gpu=0) == greedy
    assert write(**ollama.Options(temperature=0.0, repeat_last_n=-1, tfs_z=1.0, mirostat=0).model_dump(exclude_none=True)) == greedy
    refused(lambda: write(mirostat=2), 400, "mirostat")
    refused(lambda: write(heat=1), 400, "heat")


@check
def formats(c):
    schema = {
        "type": "object", "required": ["color", "sure"], "additionalProperties": False,
        "properties": {"color": {"type": "string", "enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
    }
    said = [{"role": "user", "content": "what color is the shape?", "images": [str(IMAGES / "red-circle.png")]}]
    for model in ("blip2-mini", CHAT):
        r = c.chat(model, said, format=schema, options={"num_predict": 64})
        value = json.loads(r.message.content)
        assert value["color"] in ("red", "blue") and isinstance(value["sure"], bool), value
        text = "".join(p.message.content for p in c.chat(model, said, format=schema, stream=True, options={"num_predict": 64}))
        assert json.loads(text) == value
        assert isinstance(json.loads(c.chat(model, said, format="json", options={"num_predict": 48}).message.content), dict)
    refused(lambda: c.chat(CHAT, said, format={"type": "string", "pattern": "a+"}), 400, "pattern")


@check
def logprobs(c):
    line = command(PROGRAM, "caption", IMAGES / "apple.png")[0]
    r = c.generate("blip2-mini", images=[IMAGES / "apple.png"], logprobs=True, top_logprobs=2)
    assert [t.token for t in r.logprobs] == [t["text"] for t in line["token_logprobs"]], r.logprobs
    for got, want in zip(r.logprobs, line["token_logprobs"]):
        assert math.isclose(got.logprob, want["logprob"], abs_tol=1e-4) and len(got.top_logprobs) == 2, got


@check
def embeddings(c):
    texts = ["a dog", "a sleeping cat"]
    want = [line["embedding"] for line in command(PROGRAM, "embed", *(f"--text={t}" for t in texts))]
    r = c.embed("clip-mini", texts)
    close(r.embeddings, want)
    assert r.prompt_eval_count == 9 and r.total_duration > 0, r
    close([c.embeddings("clip-mini", texts[0]).embedding], want[:1])
    short = c.embed("clip-mini", texts[0], dimensions=32).embeddings[0]
    assert len(short) == 32 and math.isclose(sum(v * v for v in short), 1, rel_tol=1e-5)
    refused(lambda: c.embed("blip2-mini", "a dog"), 400, "embeds no texts")
    # The client takes texts alone; pictures are this server's.
    sent = httpx.post(f"{c._client.base_url}/api/embed", json={
        "model": "clip-mini", "images": [base64.b64encode((IMAGES / "cat.jpg").read_bytes()).decode()]}).json()
    close(sent["embeddings"], [command(PROGRAM, "embed", IMAGES / "cat.jpg")[0]["embedding"]])


def close(got, want):
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) < 1e-5


@check
def keep_alive(c):
    open_models = lambda: {m.model for m in c.ps().models}
    r = c.generate("whisper-mini", keep_alive="1h")
    assert r.done_reason == "load" and "whisper-mini:latest" in open_models()
    assert c.generate("whisper-mini", keep_alive=0).done_reason == "unload"
    assert "whisper-mini:latest" not in open_models()
    assert c.chat("clip-mini", keep_alive=-1).done_reason == "load"
    expires = {m.model: m.expires_at for m in c.ps().models}["clip-mini:latest"]
    assert expires.year > 2100, expires


@check
def errors(c):
    picture = [IMAGES / "apple.png"]
    refused(lambda: c.generate("llama3", "hi"), 404, "model 'llama3' not found")
    refused(lambda: c.chat("llama3", [{"role": "user", "content": "hi"}]), 404, "not found")
    refused(lambda: c.embed("llama3", "hi"), 404, "not found")
    refused(lambda: c.show("llama3"), 404, "not found")
    refused(lambda: list(c.generate("llama3", "hi", stream=True)), 404, "not found")
    refused(lambda: c.generate("blip2-mini", "hi"), 400, "picture")
    refused(lambda: c.generate("blip2-mini", images=[b"no picture"]), 400, "image")
    refused(lambda: c.generate("blip2-mini", "x", images=picture, suffix="end"), 400, "insert")
    refused(lambda: c.generate("blip2-mini", "x", images=picture, think=True), 400, "thinking")
    refused(lambda: c.generate("blip2-mini", "x", images=picture, context=[1, 2]), 400, "context")
    refused(lambda: c.pull("org/name"), 403, "--allow-pull")
    refused(lambda: c.push("blip2-mini"), 400, "push")
    refused(lambda: c.create("mine", from_="blip2-mini"), 400, "create")
    refused(lambda: c.copy("blip2-mini", "mine"), 400, "copy")
    refused(lambda: c.delete("blip2-mini"), 400, "delete")


@check
def root(c):
    base = str(c._client.base_url)
    assert httpx.get(base).text == "Ollama is running" and httpx.head(base).status_code == 200
    assert httpx.get(base + "/api/version").json()["version"]


if __name__ == "__main__":
    with served(PROGRAM, "--model", str(ROOT / "testdata/layouts" / CHAT)) as address:
        sys.exit(run(checks, ollama.Client(host=address)))
