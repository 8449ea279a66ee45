// node clients.mjs CASES.json RESULTS.json: transformers.js runs cases that clients.py wrote, and writes for each row
// {"made"}, the new ids or the vector, or {"error"}.
import { readFileSync, writeFileSync } from "node:fs";
import * as transformers from "@huggingface/transformers";

const [cases, results] = process.argv.slice(2);
const { Tensor, env } = transformers;
env.allowRemoteModels = false;
env.localModelPath = "/";

const arrays = { float32: Float32Array, int64: BigInt64Array, bool: Uint8Array };

function tensors(given) {
  const made = {};
  for (const [name, { type, dims, data }] of Object.entries(given)) {
    const bytes = Uint8Array.from(Buffer.from(data, "base64"));
    made[name] = new Tensor(type, new arrays[type](bytes.buffer), dims);
  }
  return made;
}

async function ids(model, row, count) {
  const given = tensors(row.given);
  const before = given.decoder_input_ids ?? given.input_ids;
  const out = await model.generate({ ...given, ...row.parameters, max_new_tokens: count, do_sample: false });
  const all = Array.from(out.data, Number);
  if (given.decoder_input_ids) return all.slice(given.decoder_input_ids.dims[1]);
  return model.config.is_encoder_decoder ? all.slice(1) : all.slice(before.dims[1]);
}

async function vector(model, row, { tokenizer, extractor }) {
  const given = extractor ? await extractor(tensors(row.given).samples.data) : row.text === undefined ? tensors(row.given) : tokenizer(row.text, {
    // SigLIP and MobileCLIP take texts of one length
    padding: model.config.model_type.startsWith("siglip") || !model.config.text_config ? "max_length" : true, truncation: true,
    max_length: model.config.text_config?.max_position_embeddings ?? 77,
  });
  const out = await model(given);
  return Array.from((out.image_embeds ?? out.audio_embeds ?? out.text_embeds ?? out.pooler_output).data);
}

// The default level cannot open some float16 files (microsoft/onnxruntime#26717).
async function open(job, folder, dtype) {
  const options = (level) => ({ dtype, device: "cpu", session_options: { intraOpNumThreads: 1, graphOptimizationLevel: level } });
  try {
    return [await transformers[job].from_pretrained(folder, options("all"))];
  } catch (error) {
    return [await transformers[job].from_pretrained(folder, options("basic")), "at graphOptimizationLevel basic"];
  }
}

const made = [];
for (const { folder, job, dtype, rows, count, vectors } of JSON.parse(readFileSync(cases, "utf8"))) {
  const tools = {};
  let model, note, failed;
  try {
    [model, note] = await open(job, folder, dtype);
    if (rows.some((r) => r.text !== undefined)) tools.tokenizer = await transformers.AutoTokenizer.from_pretrained(folder);
    if (rows.some((r) => r.given?.samples)) tools.extractor = await transformers.AutoFeatureExtractor.from_pretrained(folder);
  } catch (error) {
    failed = { error: String(error) };
  }
  const written = [];
  for (const row of rows) {
    try {
      written.push(failed ?? { made: await (vectors ? vector(model, row, tools) : ids(model, row, count)) });
    } catch (error) {
      written.push({ error: String(error) });
    }
  }
  made.push(written);
  await model?.dispose();
}
writeFileSync(results, JSON.stringify(made));
