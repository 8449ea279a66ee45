# Everything a developer runs. What is made lands in build/, which git ignores.

PYTHON ?= python3
VENV   := build/venv
# Tests that compare with a reference fail, not skip, where the reference is missing.
REFS   := XPIPE_REQUIRE_REFS=1 XPIPE_PYTHON=$(CURDIR)/$(VENV)/bin/python3

.PHONY: help test test-env test-race test-portable eval-attention bench-engines lint clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: test-env lint ## install what the tests need, under build/, and run them all
	$(REFS) go test ./...
	$(REFS) $(MAKE) test-race test-portable

test-env: $(VENV)/.done ## the Python references the Go tests compare with

$(VENV)/.done: testdata/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r testdata/requirements.txt
	touch $@

test-race: ## what is concurrent, under the race detector
	go test -race ./pipeline/... ./ort/... ./tokenize/...

test-portable: ## without cgo, without assembly, and for other systems
	CGO_ENABLED=0 go build ./...
	CGO_ENABLED=0 go test -tags noasm ./fallback/... ./pipeline/... ./tensor/...
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build ./...
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build ./...

eval-attention: ## how far the attention maps of the embedded models can be trusted
	go run ./pipeline/evalattend

bench-engines: test-env ## graphs of full size on both engines, in turns, on one core and on two
	go build -o build/xpipe ./cmd/xpipe
	export XPIPE_ORT_LIB=$$(ls $(VENV)/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.*); \
	for threads in 1 2; do build/xpipe bench builtin:all -v --threads $$threads --runs 10; done

lint: ## formatting and vet
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	go vet ./...

clean: ## remove what was made
	rm -rf build
