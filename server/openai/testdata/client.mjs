// OpenAI's client for Node against a server that runs: node client.mjs ADDRESS FOLDER, where FOLDER is that of
// test pictures and sounds. The module openai lies beside this file.
import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";

const [address, testdata] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 0 });
const chat = "smolvlm-transformersjs";
const picture = (name) => ({
  type: "image_url",
  image_url: { url: `data:image/png;base64,${readFileSync(`${testdata}/images/${name}`).toString("base64")}` },
});
const text = (words) => ({ type: "text", text: words });
const color = [{ role: "user", content: [text("what color is the shape?"), picture("red-circle.png")] }];
const speech = () => createReadStream(`${testdata}/speech/jfk.flac`);

async function refused(promise, status, param, code) {
  const error = await promise.then(() => assert.fail("it was not refused"), (e) => e);
  assert(error instanceof OpenAI.APIError, String(error));
  assert.deepEqual([error.status, error.param], [status, param], String(error));
  if (code) assert.equal(error.code, code);
}

const checks = {
  async models() {
    const names = [];
    for await (const m of client.models.list()) names.push(m.id);
    assert(names.includes("blip2-mini") && names.includes(chat));
    assert.equal((await client.models.retrieve("clip-mini")).id, "clip-mini");
    await refused(client.models.retrieve("gpt-5"), 404, "model", "model_not_found");
  },
  async chats() {
    const got = await client.chat.completions.create({ model: "blip2-mini", messages: color, logprobs: true, top_logprobs: 2 });
    assert.equal(got.choices[0].message.content, "red");
    assert.equal(got.choices[0].finish_reason, "stop");
    assert.equal(got.choices[0].logprobs.content[0].top_logprobs.length, 2);
    assert(got.usage.prompt_tokens > 77);
    const messages = [
      { role: "system", content: "You are brief." },
      { role: "user", content: [picture("red-circle.png"), text("and"), picture("dog.png")] },
      { role: "assistant", content: "yes" }, { role: "user", content: "why?" },
    ];
    const several = await client.chat.completions.create({ model: chat, messages, n: 2, seed: 1, temperature: 1, max_completion_tokens: 4 });
    assert.equal(several.choices.length, 2);
    assert.equal(several.usage.completion_tokens, 8);
  },
  async streams() {
    const asked = { model: chat, messages: color, max_tokens: 8, seed: 3, temperature: 1 };
    const whole = await client.chat.completions.create(asked);
    let said = "", usage;
    for await (const chunk of await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } })) {
      said += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage;
    }
    assert.equal(said, whole.choices[0].message.content);
    assert.deepEqual(usage, whole.usage);
    const runner = client.chat.completions.stream({ model: "blip2-mini", messages: color });
    assert.equal(await runner.finalContent(), "red");
  },
  async schemas() {
    const schema = { type: "object", required: ["color"], additionalProperties: false, properties: { color: { enum: ["red", "blue"] } } };
    const format = { type: "json_schema", json_schema: { name: "color", strict: true, schema } };
    const got = await client.chat.completions.parse({ model: "blip2-mini", messages: color, response_format: format });
    assert.deepEqual(JSON.parse(got.choices[0].message.content), { color: "red" });
  },
  async tools() {
    const parameters = { type: "object", required: ["town"], additionalProperties: false, properties: { town: { enum: ["Rome", "Oslo"] } } };
    let asked;
    const runner = client.chat.completions.runTools({
      model: "with-tools", max_tokens: 80, messages: [{ role: "user", content: "how is the weather?" }],
      tool_choice: { type: "function", function: { name: "weather" } },
      tools: [{ type: "function", function: { name: "weather", description: "The weather.", parameters, parse: JSON.parse, function: (a) => { asked = a; return "rain"; } } }],
    });
    await runner.done();
    assert(["Rome", "Oslo"].includes(asked.town));
  },
  async responses() {
    const input = [{ role: "user", content: [
      { type: "input_text", text: "what color is the shape?" },
      { type: "input_image", detail: "auto", image_url: picture("red-circle.png").image_url.url },
    ] }];
    assert.equal((await client.responses.create({ model: "blip2-mini", input })).output_text, "red");
    const kinds = [];
    for await (const event of await client.responses.create({ model: "blip2-mini", input, stream: true })) kinds.push(event.type);
    assert.equal(kinds[0], "response.created");
    assert(kinds.includes("response.output_text.delta"));
    assert.equal(kinds.at(-1), "response.completed");
    const final = await client.responses.stream({ model: "blip2-mini", input }).finalResponse();
    assert.equal(final.output_text, "red");
    await refused(client.responses.create({ model: chat, input: "hi", store: true }), 400, "store");
  },
  async completions() {
    const got = await client.completions.create({ model: "llama-genai", prompt: "Hello", max_tokens: 3 });
    assert.equal(got.usage.completion_tokens, 3);
  },
  async embeddings() {
    const got = await client.embeddings.create({ model: "clip-mini", input: ["a dog", "a cat"] });
    const length = got.data[0].embedding.reduce((sum, x) => sum + x * x, 0);
    assert.equal(got.data.length, 2);
    assert(Math.abs(length - 1) < 1e-4, String(length));
    await refused(client.embeddings.create({ model: "clip-mini", input: "a", dimensions: 3 }), 400, "dimensions");
  },
  async transcriptions() {
    const got = await client.audio.transcriptions.create({
      model: "whisper-mini", file: speech(), response_format: "verbose_json", timestamp_granularities: ["word", "segment"],
    });
    assert.equal(got.words.map((w) => w.word).join(" "), got.text);
    assert(got.segments.length > 0);
    assert.match(await client.audio.transcriptions.create({ model: "whisper-mini", file: speech(), response_format: "vtt" }), /^WEBVTT/);
    let said = "";
    for await (const event of await client.audio.transcriptions.create({ model: "whisper-mini", file: speech(), stream: true })) {
      if (event.type === "transcript.text.delta") said += event.delta;
    }
    assert.equal(said, got.text);
  },
  async refusals() {
    await refused(client.chat.completions.create({ model: "none", messages: color }), 404, "model", "model_not_found");
    await refused(client.chat.completions.create({ model: chat, messages: color, temperature: 9 }), 400, "temperature");
    await refused(client.chat.completions.create({ model: chat, messages: color, nonsense: 1 }), 400, "nonsense", "unknown_parameter");
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log("ok", name);
}
const version = JSON.parse(readFileSync(fileURLToPath(new URL("node_modules/openai/package.json", import.meta.url)))).version;
console.log(`openai ${version} for Node: ${Object.keys(checks).length} checks`);
