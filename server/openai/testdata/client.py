"""OpenAI's client for Python against the built server: every route and parameter that it answers, and
what it refuses. Usage: python client.py PROGRAM [CHECK ...]"""
import base64
import io
import json
import struct
import sys

import openai
from serve import IMAGES, SPEECH, SPOKEN, command, data_url, server

PROGRAM = sys.argv[1]
CHAT = "smolvlm-transformersjs"
checks = []


def check(f):
    checks.append(f)
    return f


def picture(name, bare=False):
    return {"type": "image_url", "image_url": data_url(name) if bare else {"url": data_url(name), "detail": "low"}}


def text(words):
    return {"type": "text", "text": words}


def user(*content):
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def refused(call, status=400, **want):
    """The call fails with the status, and an error that has all four keys."""
    try:
        call()
    except openai.APIStatusError as e:
        assert e.status_code == status, f"{e.status_code}: {e}"
        error = e.response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        for key, value in want.items():
            assert error[key] == value, error
        return error
    raise AssertionError("it was not refused")


@check
def models(c):
    names = [m.id for m in c.models.list()]
    assert {"blip2-mini", "clip-mini", "whisper-mini", CHAT} <= set(names), names
    m = c.models.retrieve("blip2-mini")
    assert (m.id, m.object, m.owned_by) == ("blip2-mini", "model", "xpipe") and m.created > 0
    assert "caption" in m.tasks
    refused(lambda: c.models.retrieve("gpt-5"), 404, code="model_not_found", param="model")


@check
def captions_and_answers_are_those_of_the_command(c):
    caption = command(PROGRAM, "caption", str(IMAGES / "red-circle.png"))["caption"]
    answer = command(PROGRAM, "ask", str(IMAGES / "red-circle.png"), "what color is the shape?")["answer"]
    for bare in (False, True):
        got = c.chat.completions.create(model="blip2-mini", messages=[user(picture("red-circle.png", bare))])
        assert got.choices[0].message.content == caption, got
    got = c.chat.completions.create(
        model="gpt-4o", messages=[user(text("what color is the shape?"), picture("red-circle.png"))])
    assert got.choices[0].message.content == answer and got.choices[0].finish_reason == "stop", got
    assert got.object == "chat.completion" and got.choices[0].message.role == "assistant"
    u = got.usage
    assert u.prompt_tokens > 77 and u.completion_tokens >= 2, u  # 77 rows of the picture, and an end
    assert u.total_tokens == u.prompt_tokens + u.completion_tokens


@check
def conversations_without_a_template(c):
    """The last question is answered, about the picture shown last; what was not read is told."""
    want = command(PROGRAM, "ask", str(IMAGES / "blue-triangle.png"), "what color is the shape?")["answer"]
    raw = c.chat.completions.with_raw_response.create(model="blip2-mini", messages=[
        {"role": "system", "content": "You are brief."}, user(picture("red-circle.png"), text("what is this?")),
        {"role": "assistant", "content": "a red circle"}, user(picture("blue-triangle.png"), text("and this?")),
        {"role": "assistant", "content": "a blue triangle"}, user("what color is the shape?")])
    assert raw.parse().choices[0].message.content == want
    assert raw.headers["xpipe-unread"] == "messages: 1 system, 4 earlier", raw.headers
    refused(lambda: c.chat.completions.create(model="blip2-mini", messages=[user("hello")]), param="messages")
    refused(lambda: c.chat.completions.create(model="blip2-mini", messages=[
        user(picture("red-circle.png"), picture("blue-triangle.png"), text("what differs?"))]),
        param="messages[0].content")


@check
def examples(c):
    got = c.chat.completions.create(model="flamingo-mini", messages=[
        user(picture("red-circle.png"), text("what is this?")), {"role": "assistant", "content": "a red circle"},
        user(picture("blue-triangle.png"), text("what is this?"))])
    assert got.choices[0].message.content


@check
def fixed_answers(c):
    got = c.chat.completions.create(model="lxmert-mini", messages=[
        user(picture("red-circle.png"), text("what color is the circle?"))])
    assert got.choices[0].message.content == "red", got


@check
def several_pictures_and_turns(c):
    messages = [
        {"role": "developer", "content": "You are brief."}, user(picture("red-circle.png"), text("one"), picture("dog.png"), text("two")),
        {"role": "assistant", "content": "yes"}, user("and now?")]
    for model in (CHAT, "qwen2vl-transformersjs"):
        got = c.chat.completions.create(model=model, messages=messages, max_completion_tokens=6)
        assert got.choices[0].finish_reason == "length" and got.usage.completion_tokens == 6, got
        fewer = c.chat.completions.create(model=model, messages=messages[2:], max_tokens=6)
        assert fewer.usage.prompt_tokens < got.usage.prompt_tokens - 10, (model, fewer.usage, got.usage)
    got = c.chat.completions.create(model="llama-genai", messages=[user("hello"), user("there")], max_tokens=3)
    assert got.usage.completion_tokens == 3
    refused(lambda: c.chat.completions.create(model="llama-genai", messages=[user(picture("dog.png"))]),
            code="unsupported")


@check
def streams_are_what_comes_at_once(c):
    for model, n in (("blip2-mini", 1), (CHAT, 3)):
        asked = dict(model=model, n=n, seed=5, temperature=0.9, max_tokens=12, logprobs=True, top_logprobs=2,
                     messages=[user(picture("cat.jpg"), text("what is it?"))])
        whole = c.chat.completions.create(**asked)
        texts, tokens, finish, roles, usage = [""] * n, [[] for _ in range(n)], {}, set(), None
        for chunk in c.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
            assert chunk.object == "chat.completion.chunk"
            usage = chunk.usage
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                if choice.delta.role:
                    roles.add((choice.index, choice.delta.role))
                if choice.logprobs:
                    tokens[choice.index] += choice.logprobs.content
                if choice.finish_reason:
                    finish[choice.index] = choice.finish_reason
        assert texts == [x.message.content for x in whole.choices]
        assert tokens == [x.logprobs.content for x in whole.choices]
        assert finish == {x.index: x.finish_reason for x in whole.choices}
        assert roles == {(i, "assistant") for i in range(n)} and usage == whole.usage
    with c.chat.completions.create(model=CHAT, messages=[user("hi")], max_tokens=500, stream=True) as stream:
        next(iter(stream))  # and away


@check
def helpers_of_the_client(c):
    with c.chat.completions.stream(model="blip2-mini", messages=[user(picture("red-circle.png"))]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds and "content.done" in kinds and final.choices[0].message.content


@check
def logprobs(c):
    got = c.chat.completions.create(model="blip2-mini", logprobs=True, top_logprobs=3,
                                    messages=[user(picture("red-circle.png"))])
    content = got.choices[0].logprobs.content
    assert "".join(t.token for t in content).strip() == got.choices[0].message.content
    for t in content:
        assert bytes(t.bytes).decode() == t.token and t.logprob <= 0 and len(t.top_logprobs) == 3
        assert t.top_logprobs[0].logprob == max(x.logprob for x in t.top_logprobs) == t.logprob  # it is greedy
    refused(lambda: c.chat.completions.create(model=CHAT, messages=[user("hi")], top_logprobs=3), param="top_logprobs")


@check
def sampling(c):
    asked = dict(model=CHAT, messages=[user("hi")], max_tokens=8)

    def texts(**parameters):
        return [x.message.content for x in c.chat.completions.create(**asked, **parameters).choices]

    assert texts(temperature=1.5, seed=1, n=4) == texts(temperature=1.5, seed=1, n=4)
    assert texts(temperature=1.5, seed=1, n=4) != texts(temperature=1.5, seed=2, n=4)
    assert len(set(texts(temperature=2, n=8, top_p=1))) > 1
    greedy = texts()
    assert texts(temperature=0, n=3) == greedy * 3 and texts(temperature=0.9, top_p=0) == greedy
    assert texts(seed=-3, temperature=1) == texts(seed=-3, temperature=1)
    # The first token, biased away, does not come; one that is biased to does.
    tokens = c.chat.completions.create(**asked, logprobs=True).choices[0].logprobs.content
    assert texts(logit_bias={str(i): -100 for i in range(340)}) != greedy
    assert 0 < len(tokens) <= 8
    long = dict(model="llama-genai", prompt="Hello", max_tokens=60, logprobs=0)
    kinds = [len(set(c.completions.create(**long, **p).choices[0].logprobs.tokens))
             for p in ({"frequency_penalty": -2}, {}, {"frequency_penalty": 2, "presence_penalty": 2})]
    assert kinds[0] < kinds[2] and kinds[1] <= kinds[2], kinds
    c.chat.completions.create(**asked, user="me", metadata={"a": "b"}, store=False, service_tier="auto")
    c.chat.completions.create(**asked, extra_body={"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2})


@check
def stops(c):
    asked = dict(model="blip2-mini", messages=[user(picture("red-circle.png"))])
    whole = c.chat.completions.create(**asked).choices[0].message.content
    word = whole.split()[-1]
    for stop in (word, [word, "zebra"]):
        got = c.chat.completions.create(**asked, stop=stop).choices[0]
        assert got.message.content == whole[:-len(word)].strip() and got.finish_reason == "stop", got
        streamed = "".join(x.choices[0].delta.content or "" for x in c.chat.completions.create(**asked, stop=stop, stream=True))
        assert streamed == got.message.content


@check
def refusals(c):
    def ask(**parameters):
        extra = {"model": CHAT, "messages": [user("hi")], "max_tokens": 2, **parameters}
        return lambda: c.post("/chat/completions", body=extra, cast_to=object)

    for parameters, param in [
        ({"temperature": 3}, "temperature"), ({"top_p": -1}, "top_p"), ({"n": 0}, "n"), ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"), ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"stop": [""]}, "stop"), ({"stop": list("abcde")}, "stop"), ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"), ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"), ({"store": True}, "store"),
        ({"modalities": ["text", "audio"]}, "modalities"), ({"audio": {"voice": "a"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"), ({"functions": []}, "functions"), ({"nonsense": 1}, "nonsense"),
        ({"temperature": "hot"}, "temperature"), ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [user({"type": "video"})]}, "messages[0].content[0].type"),
        ({"messages": [user({"type": "file", "file": {"file_data": "x"}})]}, "messages[0].content[0]"),
        ({"messages": [user({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})]},
         "messages[0].content[0].image_url"),
        ({"messages": [user({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})]},
         "messages[0].content[0]"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
    ]:
        error = refused(ask(**parameters), param=param)
        assert error["type"] == "invalid_request_error" and error["message"], error
    c.post("/chat/completions", cast_to=object, body={
        "model": CHAT, "messages": [user("hi")], "max_tokens": 2, "frequency_penalty": 0, "logit_bias": None, "nonsense": None})
    refused(ask(model="nothing"), 404, code="model_not_found", param="model", type="invalid_request_error")
    refused(ask(model="../../etc"), 404, code="model_not_found")
    refused(ask(model="clip-mini"), param="model")
    refused(lambda: c.post("/nothing", body={}, cast_to=object), 404)
    broken = c._client.post(str(c.base_url) + "chat/completions", content=b'{"model": ')
    assert broken.status_code == 400 and set(broken.json()["error"]) == {"message", "type", "param", "code"}


@check
def schemas(c):
    schema = {"type": "object", "required": ["name", "sure"], "additionalProperties": False, "properties": {
        "name": {"type": "string", "maxLength": 8}, "sure": {"type": "boolean"}}}
    asked = dict(model="blip2-mini", messages=[user(picture("red-circle.png"), text("what is it?"))])
    wanted = {"type": "json_schema", "json_schema": {"name": "thing", "strict": True, "schema": schema}}
    for parameters in ({}, {"temperature": 1.5}, {"n": 3, "temperature": 1}, {"max_tokens": 40}):
        for choice in c.chat.completions.create(**asked, response_format=wanted, **parameters).choices:
            value = json.loads(choice.message.content)
            assert set(value) == {"name", "sure"} and isinstance(value["sure"], bool) and choice.finish_reason == "stop"
    got = c.chat.completions.create(**asked, response_format={"type": "json_object"}, max_tokens=30)
    assert isinstance(json.loads(got.choices[0].message.content), dict)
    got = c.responses.create(model="blip2-mini", input=[{"role": "user", "content": [
        {"type": "input_image", "image_url": data_url("red-circle.png")}, {"type": "input_text", "text": "what is it?"}]}],
        text={"format": {"type": "json_schema", "name": "thing", "schema": schema}})
    assert set(json.loads(got.output_text)) == {"name", "sure"} and got.text.format.name == "thing"
    schema["properties"]["name"]["pattern"] = "a*"
    error = refused(lambda: c.chat.completions.create(**asked, response_format=wanted), param="response_format.json_schema.schema")
    assert "pattern" in error["message"], error


FUNCTION = {"name": "weather", "description": "The weather of a town.", "parameters": {
    "type": "object", "required": ["town"], "additionalProperties": False, "properties": {
        "town": {"type": "string", "maxLength": 6}, "days": {"enum": [1, 2]}}}}


@check
def tools(c):
    tools = [{"type": "function", "function": FUNCTION}]
    asked = dict(model="with-tools", tools=tools, messages=[user("how is the weather?")], max_tokens=80)
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        got = c.chat.completions.create(**asked, tool_choice=choice).choices[0]
        assert got.finish_reason == "tool_calls" and got.message.content is None, got
        call = got.message.tool_calls[0]
        assert call.function.name == "weather" and "town" in json.loads(call.function.arguments) and call.id
        name, arguments = "", ""
        for chunk in c.chat.completions.create(**asked, tool_choice=choice, stream=True):
            assert not chunk.choices[0].delta.content
            for delta in chunk.choices[0].delta.tool_calls or []:
                name, arguments = name + (delta.function.name or ""), arguments + delta.function.arguments
        assert (name, arguments) == ("weather", call.function.arguments)
    plain = c.chat.completions.create(model="with-tools", messages=asked["messages"], max_tokens=5)
    told = c.chat.completions.create(**{**asked, "max_tokens": 5})
    none = c.chat.completions.create(**{**asked, "max_tokens": 5}, tool_choice="none")
    assert told.usage.prompt_tokens > plain.usage.prompt_tokens + 50 and none.usage == plain.usage
    said = asked["messages"] + [
        {"role": "assistant", "tool_calls": [call.model_dump()]}, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    after = c.chat.completions.create(**{**asked, "messages": said, "max_tokens": 5})
    assert after.usage.prompt_tokens > told.usage.prompt_tokens + 20
    flat = [{"type": "function", **FUNCTION}]
    got = c.responses.create(model="with-tools", input="how is the weather?", tools=flat, tool_choice="required")
    assert got.output[0].type == "function_call" and got.output[0].name == "weather"
    again = c.responses.create(model="with-tools", tools=flat, max_output_tokens=5, input=[
        {"role": "user", "content": "how is the weather?"}, got.output[0].model_dump(),
        {"type": "function_call_output", "call_id": got.output[0].call_id, "output": "rain"}])
    assert again.usage.input_tokens > got.usage.input_tokens
    events = [e.type for e in c.responses.create(model="with-tools", input="hi", tools=flat, tool_choice="required", stream=True)]
    assert "response.function_call_arguments.done" in events and events[-1] == "response.completed"


@check
def heard(c):
    """A model that transcribes answers a sound with what is said in it."""
    sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(SPEECH.read_bytes()).decode(), "format": "wav"}}
    got = c.chat.completions.create(model="whisper-mini", messages=[user(sound, text("What is said?"))])
    assert SPOKEN in got.choices[0].message.content, got
    refused(lambda: c.chat.completions.create(model=CHAT, messages=[user(sound)]), param="messages[0].content[0]")
    refused(lambda: c.chat.completions.create(model="whisper-mini", n=2, messages=[user(sound)]), param="n")


@check
def completions(c):
    got = c.completions.create(model="llama-genai", prompt=["Hello", "there"], max_tokens=4, n=2, logprobs=2, temperature=1, seed=3)
    assert [x.index for x in got.choices] == [0, 1, 2, 3] and got.usage.completion_tokens == 16
    lp = got.choices[0].logprobs
    assert "".join(lp.tokens) == got.choices[0].text and len(lp.top_logprobs) == len(lp.token_logprobs) == 4
    texts = [""] * 4
    for chunk in c.completions.create(model="llama-genai", prompt=["Hello", "there"], max_tokens=4, n=2, temperature=1,
                                      seed=3, stream=True, stream_options={"include_usage": True}):
        for x in chunk.choices:
            texts[x.index] += x.text
        usage = chunk.usage
    assert texts == [x.text for x in got.choices] and usage == got.usage
    refused(lambda: c.completions.create(model="llama-genai", prompt=[1, 2]), param="prompt")
    refused(lambda: c.completions.create(model="llama-genai", prompt="a", echo=True), param="echo")
    refused(lambda: c.completions.create(model="blip2-mini", prompt="a"), param="model")


@check
def responses(c):
    content = [{"type": "input_text", "text": "what color is the shape?"}, {"type": "input_image", "image_url": data_url("red-circle.png")}]
    asked = dict(model="blip2-mini", input=[{"role": "user", "content": content}])
    whole = c.responses.create(**asked, instructions="You are brief.", metadata={}, store=False)
    assert whole.output_text == "red" and whole.status == "completed" and whole.usage.input_tokens > 77
    assert whole.instructions == "You are brief." and whole.output[0].role == "assistant"
    kinds, streamed, numbers = [], "", []
    for event in c.responses.create(**asked, stream=True):
        kinds.append(event.type)
        numbers.append(event.sequence_number)
        if event.type == "response.output_text.delta":
            streamed += event.delta
    assert streamed == "red" and numbers == list(range(len(numbers)))
    assert kinds == ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
                     "response.output_text.delta", "response.output_text.done", "response.content_part.done",
                     "response.output_item.done", "response.completed"], kinds
    assert event.response.output_text == "red" and event.response.usage == whole.usage
    with c.responses.stream(**asked) as stream:
        stream.until_done()
        assert stream.get_final_response().output_text == "red"
    cut = c.responses.create(model=CHAT, input="hello", max_output_tokens=3)
    assert cut.status == "incomplete" and cut.incomplete_details.reason == "max_output_tokens"
    last = [e for e in c.responses.create(model=CHAT, input="hello", max_output_tokens=3, stream=True)][-1]
    assert last.type == "response.incomplete"
    logs = c.responses.create(**asked, include=["message.output_text.logprobs"], top_logprobs=2).output[0].content[0].logprobs
    assert logs[0].token == " red" and len(logs[0].top_logprobs) == 2
    more = c.responses.create(model=CHAT, max_output_tokens=3, input=[
        {"role": "user", "content": "hi"}, *cut.model_dump()["output"], {"role": "user", "content": "and?"}])
    assert more.usage.input_tokens > cut.usage.input_tokens
    for parameters, param in [({"store": True}, "store"), ({"previous_response_id": "resp_1"}, "previous_response_id"),
                              ({"conversation": "c"}, "conversation"), ({"background": True}, "background"),
                              ({"truncation": "auto"}, "truncation"), ({"max_output_tokens": 0}, "max_output_tokens"),
                              ({"tools": [{"type": "web_search"}]}, "tools"), ({"include": ["file_search_call.results"]}, "include"),
                              ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type")]:
        refused(lambda: c.responses.create(**{**asked, **parameters}), param=param)


@check
def embeddings(c):
    texts = ["a red circle", "a dog", "a red circle"]
    floats = c.embeddings.create(model="clip-mini", input=texts, encoding_format="float")
    vectors = [x.embedding for x in floats.data]
    assert [x.index for x in floats.data] == [0, 1, 2] and vectors[0] != vectors[1]
    assert max(abs(a - b) for a, b in zip(vectors[0], vectors[2])) < 1e-5  # the size of batches shows in last bits
    assert abs(sum(x * x for x in vectors[0]) - 1) < 1e-5 and floats.usage.prompt_tokens == floats.usage.total_tokens > 6
    again = c.embeddings.create(model="clip-mini", input=texts)  # the client asks for base64 by itself
    assert max(abs(a - b) for a, b in zip(again.data[1].embedding, vectors[1])) < 1e-5
    raw = c.post("/embeddings", cast_to=object, body={"model": "clip-mini", "input": "a dog", "encoding_format": "base64"})
    data = base64.b64decode(raw["data"][0]["embedding"])
    alone = c.embeddings.create(model="clip-mini", input="a dog", encoding_format="float").data[0].embedding
    assert struct.unpack(f"<{len(data) // 4}f", data) == struct.unpack(f"<{len(alone)}f", struct.pack(f"<{len(alone)}f", *alone))
    assert c.embeddings.create(model="clip-mini", input="a dog", dimensions=len(vectors[0])).data[0].index == 0
    refused(lambda: c.embeddings.create(model="clip-mini", input="a dog", dimensions=16), param="dimensions")
    refused(lambda: c.embeddings.create(model="clip-mini", input=[1, 2]), param="input")
    refused(lambda: c.embeddings.create(model="clip-mini", input=""), param="input")
    refused(lambda: c.embeddings.create(model="blip2-mini", input="a"), param="model")
    # Pictures, as vLLM takes them.
    seen = c.post("/embeddings", cast_to=openai.types.CreateEmbeddingResponse, body={
        "model": "clip-mini", "encoding_format": "float", "messages": [user(picture("red-circle.png"))]})
    row = seen.data[0].embedding
    likeness = [sum(a * b for a, b in zip(row, v)) for v in vectors]
    assert len(seen.data) == 1 and likeness[0] > likeness[1], likeness


@check
def transcriptions(c):
    def hear(**parameters):
        return c.audio.transcriptions.create(model="whisper-mini", file=SPEECH, **parameters)

    plain = hear()
    assert SPOKEN in plain.text and plain.usage.seconds == 11, plain
    assert SPOKEN in hear(response_format="text", language="en", prompt="A speech.", temperature=0)
    srt, vtt = hear(response_format="srt"), hear(response_format="vtt")
    assert srt.startswith("1\n00:00:00,") and SPOKEN in srt and vtt.startswith("WEBVTT\n\n00:00.") and SPOKEN in vtt
    whole = hear(response_format="verbose_json")
    assert whole.language == "english" and whole.duration == 11 and whole.segments[0].tokens and whole.words is None
    assert whole.segments[-1].end <= 11.1 and SPOKEN in whole.text
    both = hear(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    words = [w.word for w in both.words]
    assert " ".join(words) == both.text and both.words[0].start < both.words[-1].end and both.segments
    assert hear(response_format="verbose_json", timestamp_granularities=["word"]).segments is None
    kinds, said = [], ""
    for event in hear(stream=True):
        kinds.append(event.type)
        said += event.delta if event.type == "transcript.text.delta" else ""
    assert said.strip() == plain.text == event.text and kinds[-1] == "transcript.text.done" and "transcript.text.delta" in kinds
    for parameters, param in [({"response_format": "diarized_json"}, "response_format"), ({"temperature": 2}, "temperature"),
                              ({"timestamp_granularities": ["word"]}, "timestamp_granularities[]"), ({"language": "xx"}, "language"),
                              ({"include": ["logprobs"]}, "include[]"), ({"stream": True, "response_format": "srt"}, "stream")]:
        refused(lambda: hear(**parameters), param=param)
    refused(lambda: c.audio.transcriptions.create(model="whisper-mini", file=("a.wav", io.BytesIO(b"no sound"))), param="file")
    refused(lambda: c.audio.transcriptions.create(model="blip2-mini", file=SPEECH), param="model")
    # The model knows English alone.
    refused(lambda: c.audio.translations.create(model="whisper-mini", file=SPEECH), param="model")


with server(PROGRAM) as address:
    client = openai.OpenAI(base_url=address + "/v1", api_key="none", max_retries=0, timeout=120)
    for one in [x for x in checks if len(sys.argv) < 3 or x.__name__ in sys.argv[2:]]:
        one(client)
        print("ok", one.__name__, flush=True)
    print(f"openai {openai.__version__} for Python: {len(checks)} checks")
