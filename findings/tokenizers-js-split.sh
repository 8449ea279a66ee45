#!/usr/bin/env bash
# @huggingface/tokenizers ignores the behaviour of Split, and loses text where invert is set.
#
# Expected: one tokenizer.json gives the same tokens in Python and in JavaScript. Split has a
# pattern, a behaviour (removed, isolated, merged_with_previous, merged_with_next, contiguous) and
# invert, which makes a separator of what the pattern does not match.
# What happens: the JavaScript package treats merged_with_previous, merged_with_next and contiguous
# as isolated. With invert it keeps only the matches whatever the behaviour, so text without a match
# gives no token at all, where Python keeps every character unless the behaviour is removed.
# Versions: tokenizers 0.23.3 (Python), @huggingface/tokenizers 0.2.0 (npm), Node.js 20.
# Output seen (text "ab12c"):
#   isolated              python ["ab","1","2","c"]  js ["ab","1","2","c"]
#   merged_with_previous  python ["ab1","2","c"]  js ["ab","1","2","c"]
#   merged_with_next      python ["ab","1","2c"]  js ["ab","1","2","c"]
#   contiguous            python ["ab","12","c"]  js ["ab","1","2","c"]
#   isolated, invert      python ["ab","1","2","c"]  js ["1","2"]
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check tokenizers==0.23.3
cd "$dir"
npm init -y >npm.log
npm install --silent --no-audit --no-fund @huggingface/tokenizers@0.2.0
"$dir/venv/bin/python" - <<'EOF' >cases.json
import json

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

words = ["[UNK]", "ab", "1", "2", "c", "ab1", "2c", "12"]
merges = [("a", "b"), ("1", "2"), ("ab", "1"), ("2", "c")]
letters = ["a", "b"]
cases = []
for behavior, invert in (("isolated", False), ("merged_with_previous", False),
                         ("merged_with_next", False), ("contiguous", False), ("isolated", True)):
    vocabulary = {word: i for i, word in enumerate(words + letters)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="[UNK]", ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d"), behavior, invert)
    cases.append({"name": behavior + (", invert" if invert else ""),
                  "tokenizer": json.loads(tokenizer.to_str()),
                  "python": tokenizer.encode("ab12c").tokens})
print(json.dumps(cases))
EOF
cat >compare.mjs <<'EOF'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";

const parts = ["ab", "1", "2", "c"];
const want = {
  "isolated": [parts, parts],
  "merged_with_previous": [["ab1", "2", "c"], parts],
  "merged_with_next": [["ab", "1", "2c"], parts],
  "contiguous": [["ab", "12", "c"], parts],
  "isolated, invert": [parts, ["1", "2"]],
};
let seen = true;
for (const { name, tokenizer, python } of JSON.parse(readFileSync("cases.json", "utf8"))) {
  const js = new Tokenizer(tokenizer, {}).encode("ab12c").tokens;
  const got = [python, js].map((tokens) => JSON.stringify(tokens));
  console.log(`${name.padEnd(21)} python ${got[0]}  js ${got[1]}`);
  seen &&= JSON.stringify([python, js]) === JSON.stringify(want[name]);
}
if (!seen) {
  console.error("the behaviour has changed");
  process.exit(1);
}
EOF
node compare.mjs
