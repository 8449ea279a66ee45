// node clients.mjs TESTDATA: transformers.js 4.2.0 runs the folders of testdata: given the prompts' ids it writes the
// ids of golden.json, too.
import { readFileSync } from "node:fs";
import { AutoModelForCausalLM, Tensor, env } from "@huggingface/transformers";

const testdata = `${process.argv[2]}/`;
env.allowRemoteModels = false;
env.localModelPath = testdata;
let wrong = 0;
for (const folder of ["layouts/llama-optimum", "texts/qwen3-gqa", "texts/mistral-gqa", "texts/gemma2-gqa"]) {
  const { rows } = JSON.parse(readFileSync(`${testdata}${folder}/golden.json`, "utf8"));
  const model = await AutoModelForCausalLM.from_pretrained(folder, { dtype: "fp32", device: "cpu" });
  let same = 0;
  for (const row of rows) {
    const n = row.input_ids.length;
    const ids = new Tensor("int64", BigInt64Array.from(row.input_ids, BigInt), [1, n]);
    const mask = new Tensor("int64", new BigInt64Array(n).fill(1n), [1, n]);
    const out = await model.generate({ inputs: ids, attention_mask: mask, max_new_tokens: 12, do_sample: false });
    const written = Array.from(out.data, Number).slice(n);
    const end = written.indexOf(331);
    same += String(end < 0 ? written : written.slice(0, end)) === String(row.ids);
  }
  console.log(`transformers.js on ${folder}: ${same} of ${rows.length} prompts`);
  wrong += same < rows.length;
}
process.exit(wrong ? 1 : 0);
