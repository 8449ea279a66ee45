#!/usr/bin/env bash
# @huggingface/tokenizers fuses unknown tokens across words, Python's tokenizers only inside one.
#
# Expected: one tokenizer.json gives the same number of tokens in Python and in JavaScript. fuse_unk
# of a BPE model makes one unknown token of several unknown characters in a row; the model sees one
# pre-token at a time, so two unknown words stay two tokens.
# What happens: the JavaScript package fuses after joining the words, so unknown words in a row
# become a single token however many they are. Lengths differ, and with them positions, truncation
# and the alignment of tokens with words.
# Versions: tokenizers 0.23.3 (Python), @huggingface/tokenizers 0.2.0 (npm), Node.js 20.
# Output seen (text "xy zz a qq"):
#   python ["<unk>","<unk>","a","<unk>"]
#   js     ["<unk>","a","<unk>"]
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check tokenizers==0.23.3
cd "$dir"
npm init -y >npm.log
npm install --silent --no-audit --no-fund @huggingface/tokenizers@0.2.0
"$dir/venv/bin/python" - <<'EOF' >case.json
import json

from tokenizers import Tokenizer, models, pre_tokenizers

tokenizer = Tokenizer(models.BPE({"<unk>": 0, "a": 1}, [], unk_token="<unk>", fuse_unk=True))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
print(json.dumps({"tokenizer": json.loads(tokenizer.to_str()),
                  "python": tokenizer.encode("xy zz a qq").tokens}))
EOF
cat >compare.mjs <<'EOF'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";

const { tokenizer, python } = JSON.parse(readFileSync("case.json", "utf8"));
const js = new Tokenizer(tokenizer, {}).encode("xy zz a qq").tokens;
const got = [python, js].map((tokens) => JSON.stringify(tokens));
console.log(`python ${got[0]}\njs     ${got[1]}`);
if (got[0] !== '["<unk>","<unk>","a","<unk>"]' || got[1] !== '["<unk>","a","<unk>"]') {
  console.error("the behaviour has changed");
  process.exit(1);
}
EOF
node compare.mjs
