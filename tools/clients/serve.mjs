// node serve.mjs MODEL KIND THREADS: transformers.js as a client of bench.py; serve.py says what it answers.
import { createInterface } from "node:readline";
import { AutoImageProcessor, AutoModelForVision2Seq, AutoTokenizer, Florence2ForConditionalGeneration, RawImage, env } from "@huggingface/transformers";

const [folder, kind, threads] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = "/";
const options = { dtype: "fp32", device: "cpu", session_options: { intraOpNumThreads: Number(threads) } };
const florence = kind === "florence2";
const model = await (florence ? Florence2ForConditionalGeneration : AutoModelForVision2Seq).from_pretrained(folder, options);
const processor = await AutoImageProcessor.from_pretrained(folder);
const tokenizer = await AutoTokenizer.from_pretrained(folder);

for await (const line of createInterface({ input: process.stdin })) {
  const { image, tokens } = JSON.parse(line);
  const start = performance.now();
  const { pixel_values } = await processor(await RawImage.read(image));
  const prompt = florence ? tokenizer("What does the image describe?") : {};
  const out = await model.generate({ pixel_values, ...prompt, max_new_tokens: tokens, min_new_tokens: tokens,
    no_repeat_ngram_size: 0, forced_eos_token_id: null, do_sample: false });
  tokenizer.batch_decode(out, { skip_special_tokens: true });
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, ids: Array.from(out.data, Number).slice(1) }));
}
