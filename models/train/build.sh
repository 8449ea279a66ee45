#!/bin/sh
# From packages to the committed bundle of blip2-mini, in one command. Repeatable: what is done is not done again.
#   models/train/build.sh [CONFIG]      (default models/train/configs/blip2-mini.json)
# PYTHON is a Python with requirements.txt installed; default build/venv-train, made here if it is missing.
# Work goes to build/train (about 6 GB with all views). Two cores take three to four hours from nothing.
set -eu
cd "$(dirname "$0")/../.."
config=${1:-models/train/configs/blip2-mini.json}
python=${PYTHON:-build/venv-train/bin/python}
if ! "$python" -c "import torch, transformers, resvg_py" 2>/dev/null; then
	python3 -m venv build/venv-train
	build/venv-train/bin/pip install --quiet -r models/train/requirements.txt
	python=build/venv-train/bin/python
fi
export PYTHONPATH=models/train:models/export OMP_NUM_THREADS=1
name=$("$python" -c "import json,sys; print(json.load(open(sys.argv[1]))['name'])" "$config")
"$python" -m xpipe_train.sources build/train
"$python" -m xpipe_train.features
"$python" -m xpipe_train.train "$config"
"$python" -m xpipe_train.examples build/train testdata/images
"$python" -m xpipe_train.export_mini "build/train/runs/$name/final.pt" "models/mini/$name"
"$python" -m xpipe_train.golden "build/train/runs/$name/final.pt" "testdata/golden/$name"
