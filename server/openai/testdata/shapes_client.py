"""Answers and events fit the types of OpenAI's and Anthropic's clients for Python, every key that is required
included: the clients themselves do not check. Usage: python shapes_client.py PROGRAM [CHECK ...]"""
import json
import sys
import urllib.request

import openai
from anthropic.types import Message, RawMessageStreamEvent
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.audio import Transcription, TranscriptionStreamEvent, TranscriptionVerbose
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from serve import ROOT, data_url, server
from served import run

SOUND = ROOT / "testdata/audio/16.wav"
PARAMETERS = {"type": "object", "required": ["at"], "additionalProperties": False, "properties": {"at": {"enum": ["sky", "sea"]}}}
checks = []


def check(f):
    checks.append(f)
    return f


def ask(address, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{address}/v1/{path}", data, {"Content-Type": "application/json"})) as r:
        return r.read().decode()


def events(text):
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def fits(kind, text):
    TypeAdapter(kind).validate_json(text)


def both(address, path, body, answer, event):
    """The answer fits at once, and so does each event of it as a stream."""
    fits(answer, ask(address, path, body))
    stream = events(ask(address, path, {**body, "stream": True}))
    assert len(stream) > 2
    for one in stream:
        TypeAdapter(event).validate_python(one)


@check
def chats(address):
    content = [{"type": "image_url", "image_url": {"url": data_url("red-circle.png")}}]
    both(address, "chat/completions", {"model": "blip2-mini", "messages": [{"role": "user", "content": content}], "logprobs": True,
                                       "top_logprobs": 2, "n": 2}, ChatCompletion, ChatCompletionChunk)
    tool = {"type": "function", "function": {"name": "look", "parameters": PARAMETERS}}
    both(address, "chat/completions", {"model": "with-tools", "messages": [{"role": "user", "content": "hi"}], "tools": [tool],
                                       "tool_choice": "required"}, ChatCompletion, ChatCompletionChunk)


@check
def completions(address):
    # The client has no type of its own for the events, whose finish_reason is null but at the end.
    fits(Completion, ask(address, "completions", {"model": "llama-genai", "prompt": "hi", "logprobs": 1, "max_tokens": 4}))


@check
def responses(address):
    both(address, "responses", {"model": "smolvlm-transformersjs", "input": "hi", "max_output_tokens": 4, "top_logprobs": 2,
                                "include": ["message.output_text.logprobs"]}, Response, ResponseStreamEvent)
    tool = {"type": "function", "name": "look", "parameters": PARAMETERS, "strict": True}
    both(address, "responses", {"model": "with-tools", "input": "hi", "tools": [tool], "tool_choice": "required"},
         Response, ResponseStreamEvent)


@check
def messages(address):
    both(address, "messages", {"model": "smolvlm-transformersjs", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]},
         Message, RawMessageStreamEvent)
    both(address, "messages", {"model": "with-tools", "max_tokens": 60, "messages": [{"role": "user", "content": "hi"}],
                               "tools": [{"name": "look", "input_schema": PARAMETERS}], "tool_choice": {"type": "any"}},
         Message, RawMessageStreamEvent)


@check
def others(address):
    fits(Model, ask(address, "models/blip2-mini"))
    fits(CreateEmbeddingResponse, ask(address, "embeddings", {"model": "clip-mini", "input": "hi"}))
    hear = openai.OpenAI(base_url=address + "/v1", api_key="none").audio.transcriptions.with_raw_response.create
    fits(Transcription, hear(model="whisper-mini", file=SOUND).text)
    fits(TranscriptionVerbose, hear(model="whisper-mini", file=SOUND, response_format="verbose_json",
                                    timestamp_granularities=["word", "segment"]).text)
    speech = ROOT / "testdata/speech/jfk.flac"
    for event in events(hear(model="whisper-mini", file=speech, stream=True).http_response.read().decode()):
        TypeAdapter(TranscriptionStreamEvent).validate_python(event)


with server(sys.argv[1]) as at:
    failed = run(checks, at)
print(f"shapes of openai {openai.__version__} for Python: {len(checks)} checks")
sys.exit(failed)
