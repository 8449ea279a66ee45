#!/bin/sh
# From packages to a model's committed bundle, in one command. Repeatable: what is done is not done again.
#   tools/train/build.sh [NAME]      blip2-mini (default), clip-mini, lxmert-mini or flamingo-mini: configs/NAME.json
# PYTHON is a Python with requirements.txt installed; default build/venv-train, made here if it is missing.
# Work goes to build/train (about 8 GB). Two cores take one to four hours a model from nothing.
set -eu
cd "$(dirname "$0")/../.."
name=${1:-blip2-mini}
config=tools/train/configs/$name.json
[ -f "$config" ] || { echo "build.sh: no $config; there are: $(ls tools/train/configs)" >&2; exit 2; }
python=${PYTHON:-build/venv-train/bin/python}
if ! "$python" -c "import torch, transformers, resvg_py" 2>/dev/null; then
	python3 -m venv build/venv-train
	build/venv-train/bin/pip install --quiet -r tools/train/requirements.txt
	python=build/venv-train/bin/python
fi
export PYTHONPATH=tools/train:tools/export OMP_NUM_THREADS=1
run() { "$python" -m "xpipe_train.$@"; }
family=$("$python" -c "import json,sys; print(json.load(open(sys.argv[1]))['family'])" "$config")
checkpoint=build/train/runs/$name/final.pt

run sources build/train
case $family in
lxmert) run lxmert_crops ;; # crops of things, not whole pictures
*) run features ;;
esac
run train "$config"
run "export_$family" "$checkpoint" "models/mini/$name"
case $family in
blip2)
	run examples build/train testdata/images
	run golden "$checkpoint" "testdata/golden/$name"
	;;
*) run "${family}_golden" "$checkpoint" "testdata/golden/$name" ;;
esac
