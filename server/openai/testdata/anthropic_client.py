"""Anthropic's client for Python against the built server. Usage: python anthropic_client.py PROGRAM [CHECK ...]"""
import json
import sys

import anthropic
from serve import data_url, server
from served import IMAGES, command, run

PROGRAM = sys.argv[1]
CHAT = "smolvlm-transformersjs"
checks = []


def check(f):
    checks.append(f)
    return f


def picture(name):
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data_url(name).partition(",")[2]}}


def about(name, words):
    return {"role": "user", "content": [picture(name), {"type": "text", "text": words}]}


def refused(call, status, kind, says):
    try:
        call()
    except anthropic.APIStatusError as e:
        error = e.response.json()
        assert e.status_code == status and error["type"] == "error", error
        assert error["error"]["type"] == kind and says in error["error"]["message"], error
        return
    raise AssertionError("it was not refused")


@check
def answers(c):
    want = command(PROGRAM, "ask", str(IMAGES / "red-circle.png"), "what color is the shape?")[0]["answer"]
    asked = dict(model="blip2-mini", max_tokens=20, messages=[about("red-circle.png", "what color is the shape?")])
    got = c.messages.create(**asked)
    assert (got.type, got.role, got.stop_reason) == ("message", "assistant", "end_turn"), got
    assert got.content[0].text == want and got.usage.input_tokens > 77 and got.usage.output_tokens >= 2
    cut = c.messages.create(model=CHAT, max_tokens=3, system=[{"type": "text", "text": "Be brief."}], messages=[
        about("dog.png", "what is it?"), {"role": "assistant", "content": "a dog"}, {"role": "user", "content": "sure?"}])
    assert cut.stop_reason == "max_tokens" and cut.usage.output_tokens == 3
    caption = c.messages.create(model="blip2-mini", max_tokens=20, messages=[about("red-circle.png", "Describe this.")]).content[0].text
    word = caption.split()[-1]
    stopped = c.messages.create(model="blip2-mini", max_tokens=20, stop_sequences=[word], messages=[about("red-circle.png", "Describe this.")])
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == word
    assert stopped.content[0].text == caption[:-len(word)].strip()
    schema = {"type": "object", "required": ["color"], "additionalProperties": False, "properties": {"color": {"enum": ["red", "blue"]}}}
    held = c.messages.create(model="blip2-mini", max_tokens=40, messages=[about("red-circle.png", "what color is it?")],
                             output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(held.content[0].text) == {"color": "red"}, held


@check
def streams(c):
    asked = dict(model=CHAT, max_tokens=8, extra_body={"temperature": 0}, messages=[about("red-circle.png", "what color?")])
    whole = c.messages.create(**asked)
    with c.messages.stream(**asked) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert said == whole.content[0].text == final.content[0].text
    assert final.usage == whole.usage and final.stop_reason == whole.stop_reason
    kinds = [e.type for e in c.messages.create(**asked, stream=True)]
    assert kinds[:2] == ["message_start", "content_block_start"] and kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@check
def tools(c):
    tool = {"name": "weather", "description": "The weather of a town.", "input_schema": {
        "type": "object", "required": ["town"], "additionalProperties": False, "properties": {"town": {"enum": ["Rome", "Oslo"]}}}}
    said = [{"role": "user", "content": "how is the weather?"}]
    got = c.messages.create(model="with-tools", max_tokens=80, tools=[tool], tool_choice={"type": "any"}, messages=said)
    use = got.content[0]
    assert got.stop_reason == "tool_use" and use.name == "weather" and use.input["town"] in ("Rome", "Oslo"), got
    with c.messages.stream(model="with-tools", max_tokens=80, tools=[tool], tool_choice={"type": "tool", "name": "weather"},
                           messages=said) as stream:
        assert stream.get_final_message().content[0].input == use.input
    more = said + [{"role": "assistant", "content": [{"type": "tool_use", "id": use.id, "name": use.name, "input": use.input}]},
                   {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": json.dumps({"sky": "blue"})},
                                                {"type": "text", "text": "and?"}]}]
    after = c.messages.create(model="with-tools", max_tokens=4, tools=[tool], messages=more)
    assert after.usage.input_tokens > got.usage.input_tokens + 20


@check
def refusals(c):
    asked = dict(model=CHAT, max_tokens=4, messages=[{"role": "user", "content": "hi"}])
    bad = "invalid_request_error"
    refused(lambda: c.messages.create(**{**asked, "model": "claude"}), 404, "not_found_error", "claude")
    refused(lambda: c.messages.create(**{**asked, "max_tokens": 0}), 400, bad, "max_tokens")
    refused(lambda: c.messages.create(**asked, extra_body={"temperature": 1.5}), 400, bad, "temperature")
    refused(lambda: c.messages.create(**asked, thinking={"type": "enabled", "budget_tokens": 1024}), 400, bad, "thinking")
    refused(lambda: c.messages.create(**asked, extra_body={"nonsense": 1}), 400, bad, "nonsense")
    refused(lambda: c.messages.create(**{**asked, "messages": []}), 400, bad, "messages")
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}
    refused(lambda: c.messages.create(**{**asked, "messages": [{"role": "user", "content": [document]}]}), 400, bad, "documents")
    broken = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}
    refused(lambda: c.messages.create(**{**asked, "messages": [{"role": "user", "content": [broken]}]}), 400, bad, "image")


with server(PROGRAM) as address:
    client = anthropic.Anthropic(base_url=address, api_key="none", max_retries=0, timeout=120)
    failed = run(checks, client)
print(f"anthropic {anthropic.__version__} for Python: {len(checks)} checks")
sys.exit(failed)
