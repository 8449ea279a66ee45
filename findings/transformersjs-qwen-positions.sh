#!/usr/bin/env bash
# transformers.js counts Qwen-VL's positions on from twice the length of a prompt without pictures.
#
# Expected: the positions of text alone are 0, 1, 2 ..., so the token behind a prompt of n tokens has
# position n. get_rope_index gives what to add to the number of tokens before it, 0 here: in Python
# mrope_position_deltas = largest position + 1 - length.
# What happens: _get_text_only_rope_index adds the length where Python subtracts it, so the difference
# is 2n and the first new token has position 3n. With a prompt without pictures Qwen2-VL,
# Qwen2.5-VL and those built on them answer otherwise than PyTorch. Prompts with pictures are right.
# Versions: @huggingface/transformers 4.2.0 (npm), Node.js 20.
# Output seen:
#   positions of a prompt of 5: 0,1,2,3,4
#   position of the first new token: 15, not 5
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >npm.log
npm install --silent --ignore-scripts --no-audit --no-fund @huggingface/transformers@4.2.0
cat >positions.mjs <<'EOF'
import { Qwen2_5_VLForConditionalGeneration, Tensor } from "@huggingface/transformers";

const length = 5;
const model = Object.create(Qwen2_5_VLForConditionalGeneration.prototype); // no weights are needed
model.config = { vision_config: {} };
const ids = new Tensor("int64", new BigInt64Array(length).fill(7n), [1, length]);
const mask = new Tensor("int64", new BigInt64Array(length).fill(1n), [1, length]);
const [positions, difference] = model.get_rope_index(ids, null, null, mask);
const next = length + Number(difference.data[0]); // as prepare_inputs_for_generation adds it
console.log(`positions of a prompt of ${length}: ${positions.tolist()[0][0]}`);
console.log(`position of the first new token: ${next}, not ${length}`);
if (next !== 3 * length) {
  console.error("the behaviour has changed");
  process.exit(1);
}
EOF
node positions.mjs
