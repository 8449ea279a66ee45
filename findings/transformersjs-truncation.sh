#!/usr/bin/env bash
# transformers.js cuts the end token off texts that are too long.
#
# Expected: with truncation a text is cut so far that it fits with the special tokens that the
# tokenizer adds, as Python's tokenizers do. CLIP takes a text's vector from the place of its end
# token.
# What happens: transformers.js adds the special tokens first and then cuts, so that a text that is too
# long has no end token. CLIP's kind of model then gives it another vector than PyTorch does, taken
# from the place of another token.
# Versions: tokenizers 0.23.3 (Python), @huggingface/transformers 4.2.0 (npm), Node.js 20.
# Output seen (a text of six words, at most five ids, start 1, end 2):
#   python 1,3,4,5,2
#   js     1,3,4,5,6
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check tokenizers==0.23.3
cd "$dir"
npm init -y >npm.log
npm install --silent --ignore-scripts --no-audit --no-fund @huggingface/transformers@4.2.0
python=$("$dir/venv/bin/python" - <<'EOF'
import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors

words = {w: i for i, w in enumerate(["[UNK]", "<start>", "<end>", "a", "b", "c", "d", "e", "f"])}
tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
tokenizer.add_special_tokens(["<start>", "<end>"])
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.post_processor = processors.TemplateProcessing(
    single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)])
Path("model").mkdir()
tokenizer.save("model/tokenizer.json")
Path("model/tokenizer_config.json").write_text(json.dumps({
    "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 5, "unk_token": "[UNK]"}))
tokenizer.enable_truncation(5)
print(",".join(map(str, tokenizer.encode("a b c d e f").ids)))
EOF
)
cat >cut.mjs <<'EOF'
import { AutoTokenizer, env } from "@huggingface/transformers";

env.allowRemoteModels = false;
env.localModelPath = `${process.cwd()}/`;
const tokenizer = await AutoTokenizer.from_pretrained("model");
console.log(String(tokenizer("a b c d e f", { truncation: true, max_length: 5 }).input_ids.data));
EOF
js=$(node cut.mjs)
echo "python $python"
echo "js     $js"
if [ "$python" != 1,3,4,5,2 ] || [ "$js" != 1,3,4,5,6 ]; then
  echo "the behaviour has changed" >&2
  exit 1
fi
