#!/usr/bin/env bash
# The Metaspace decoder of tokenizers removes every space in the first token, not only the leading.
#
# Expected: with prepend_scheme "always" or "first" the decoder undoes what the pre-tokenizer did:
# it drops the one marker put before the text and turns the others into spaces. With split=False the
# vocabulary may hold tokens that span words, such as "▁New▁York".
# What happens: all markers of the first token are dropped, so "New York is" comes back as
# "NewYork is". The same token later in the text keeps its space. With prepend_scheme "never" all
# markers become spaces.
# Versions: tokenizers 0.23.3 (0.22.2 too).
# Output seen:
#   ['▁New▁York', '▁is'] -> 'NewYork is'
#   ['▁is', '▁New▁York'] -> 'is New York'
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check tokenizers==0.23.3
"$dir/venv/bin/python" - <<'EOF'
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

vocabulary = [("<unk>", 0.0), ("▁New▁York", -1.0), ("▁is", -1.0)]
tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
tokenizer.decoder = decoders.Metaspace(prepend_scheme="always", split=False)

seen = []
for text in ("New York is", "is New York"):
    encoding = tokenizer.encode(text)
    seen.append((encoding.tokens, tokenizer.decode(encoding.ids)))
    print(encoding.tokens, "->", repr(seen[-1][1]))
want = [(["▁New▁York", "▁is"], "NewYork is"), (["▁is", "▁New▁York"], "is New York")]
sys.exit(0 if seen == want else "the behaviour has changed")
EOF
