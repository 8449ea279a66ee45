#!/usr/bin/env bash
# transformers 5 does not take spaces before punctuation out of texts of BPE tokenizers, whatever the
# checkpoint says.
#
# Expected: a tokenizer saved with clean_up_tokenization_spaces: true decodes "hello , world ." to
# "hello, world." in transformers 5 as in 4, or says that the setting does not count any more.
# What happens: 4.57.6 follows the setting. 5.24.0 reads it, shows it as an attribute of the tokenizer,
# and decodes with the spaces, without a warning. Texts of the same ids differ between the versions, so
# captions and transcripts that are compared as text do, too.
# Versions: transformers 4.57.6 and 5.24.0, tokenizers as each requires.
# Output seen:
#   4.57.6 setting True 'hello, world.'
#   5.24.0 setting True 'hello , world .'
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/show.py" <<'EOF'
import sys

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

folder = sys.argv[1]
units = sorted(pre_tokenizers.ByteLevel.alphabet())
inner = Tokenizer(models.BPE(vocab={u: i for i, u in enumerate(units)}, merges=[]))
inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
inner.decoder = decoders.ByteLevel()
made = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=True)
made.save_pretrained(folder)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
text = tokenizer.decode(tokenizer("hello , world .")["input_ids"])
print(transformers.__version__, "setting", tokenizer.clean_up_tokenization_spaces, repr(text))
EOF
for version in 4.57.6 5.24.0; do
	python3 -m venv "$dir/$version"
	"$dir/$version/bin/pip" install -q --disable-pip-version-check "transformers==$version"
	"$dir/$version/bin/python" "$dir/show.py" "$dir/saved-$version" 2>"$dir/err" | tee -a "$dir/out" ||
		{ cat "$dir/err" >&2; exit 1; }
done
diff "$dir/out" - <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
4.57.6 setting True 'hello, world.'
5.24.0 setting True 'hello , world .'
EOF
