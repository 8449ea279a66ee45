// Package models reads model bundles: directories (or embedded file systems) of ONNX graphs with
// their tokenizer, preprocessing and weights, as BUNDLE.md describes them, and as transformers.js,
// optimum and onnxruntime-genai lay them out. It compares files with the hashes of the bundle's
// maker, and reads nothing outside the bundle.
//
// It runs no graph and knows no task. The default models live in models/mini, the Python programs
// that make bundles in tools/export and tools/train.
package models

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/bom"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/onnx"
)

// ErrBundle is wrapped by every error about a bundle: a file that is missing, damaged or not what
// the manifest says.
var ErrBundle = errors.New("bundle")

// Bundle is an opened bundle. It is safe for concurrent use.
type Bundle struct {
	Manifest
	fsys     fs.FS
	names    []string  // of all files, sorted
	manifest []byte    // xpipe.json, or what it would be
	folder   io.Closer // nil unless the bundle is a directory opened by Open
	hashes   bool      // whether files are compared with their SHA256

	mu       sync.Mutex
	verified map[string]bool   // the files whose hash was right
	small    map[string][]byte // configurations, which several parts of a model read
}

// smallFile is the size, in bytes, of the largest file that is kept in memory once it was read.
const smallFile = 1 << 20

// Option adjusts Open and OpenFS.
type Option func(*options)

type options struct {
	noVerify, later bool
	variant         string
	known           *Known
	checkSize       func(int64) error
	graphs          func(name string) (fs.FS, error)
}

// WithoutVerification skips the comparison of each file with its SHA-256.
func WithoutVerification() Option { return func(o *options) { o.noVerify = true } }

// NoVerify is WithoutVerification.
//
// Deprecated: use WithoutVerification, the name that package pipeline has for it, too.
func NoVerify() Option { return WithoutVerification() }

// VerifyLater compares each file with its SHA-256 when it is read, so that it is not read twice;
// Verify compares the rest.
func VerifyLater() Option { return func(o *options) { o.later = true } }

// WithSizeCheck calls check with the running total of all files' bytes, before any file is read; an
// error of check ends the opening. Unreadable files are ignored here: opening them reports the
// error.
func WithSizeCheck(check func(total int64) error) Option {
	return func(o *options) { o.checkSize = check }
}

// WithVariant takes the graphs that are stored in another type, where the bundle has several:
// "fp16" takes files such as model_fp16.onnx. Variants lists the names. Graphs may have one of their own,
// by the names of their files: "q4,vision_encoder=fp16". "" takes the files that
// xpipe.json names; without xpipe.json those without a suffix, or the only ones.
func WithVariant(name string) Option { return func(o *options) { o.variant = name } }

// WithGraphs has Needed ask for a graph whose name does not say which part of a model it is: fetch
// makes the file's own bytes readable in the file system that it returns.
func WithGraphs(fetch func(name string) (fs.FS, error)) Option {
	return func(o *options) { o.graphs = fetch }
}

// WithKnown sets the families that the caller can run: a manifest that names another is refused,
// and directories without a manifest are read by their layouts. Without it a manifest may name any
// family, and every directory needs a manifest.
func WithKnown(k Known) Option { return func(o *options) { o.known = &k } }

// Open opens the bundle in a directory of the operating system. Symbolic links that lead out of it
// are not followed, but for those of a hub's cache (package hub). Errors wrap ErrBundle.
//
// A directory without xpipe.json is read as transformers.js, optimum or onnxruntime-genai lay it
// out, by config.json's model_type, where WithKnown has a layout for it. It has no hashes to
// verify. Where several files could be one graph, the error lists them. Of a directory that is no
// model, but has one package of onnxruntime-genai in a folder, as repositories do, that is opened.
func Open(dir string, opts ...Option) (*Bundle, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is a file, not a bundle directory", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	fsys, folder, err := openFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	b, err := OpenFS(fsys, opts...)
	if err != nil {
		folder.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	b.folder = folder
	if b.Name == "" {
		b.Name = filepath.Base(dir)
	}
	return b, nil
}

// openFolder opens a directory as a file system that does not lead out of it, or for a snapshot in a
// hub's cache, not out of its repository: there the files are links to the repository's blobs.
func openFolder(dir string) (fs.FS, io.Closer, error) {
	if snapshot, ok, err := hub.SnapshotFS(dir); ok || err != nil {
		return snapshot, snapshot, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	return root.FS(), root, nil
}

// OpenFS opens the bundle at the root of a file system, such as an embedded one.
func OpenFS(fsys fs.FS, opts ...Option) (*Bundle, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if fsys == nil {
		return nil, fmt.Errorf("%w: there is no file system; did what should give one fail?", ErrBundle)
	}
	if _, err := parseVariants(o.variant); err != nil {
		return nil, err
	}
	if o.checkSize != nil {
		if err := checkSize(fsys, o.checkSize); err != nil {
			return nil, err
		}
	}
	folder, err := packageIn(fsys)
	if err != nil {
		return nil, err
	}
	if folder != "." {
		if fsys, err = fs.Sub(fsys, folder); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBundle, err)
		}
	}
	d, err := openDirectory(fsys)
	if err != nil {
		return nil, err
	}
	manifest, data, err := readManifest(d, o)
	if err != nil {
		return nil, err
	}
	b := &Bundle{
		Manifest: manifest, fsys: fsys, names: d.names, manifest: data, hashes: !o.noVerify,
		verified: map[string]bool{}, small: map[string][]byte{},
	}
	for _, name := range b.named() {
		if _, ok := b.SHA256[name]; b.hashes && len(b.SHA256) > 0 && !ok {
			return nil, fmt.Errorf("%w: %s has no sha256 for %s", ErrBundle, ManifestName, name)
		}
	}
	if !o.later {
		if err := b.Verify(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// readManifest reads a directory's xpipe.json, or derives one.
func readManifest(d directory, o options) (m Manifest, data []byte, err error) {
	wanted, err := parseVariants(o.variant)
	if err != nil {
		return m, nil, err
	}
	data, err = d.read(ManifestName)
	native := !errors.Is(err, fs.ErrNotExist)
	if err == nil {
		data, err = bom.Strip(data)
	}
	if !native {
		data, err = layoutManifest(d, wanted, o.known)
	} else if err != nil {
		err = fmt.Errorf("%w: no usable %s, the file that makes a directory a bundle: %w",
			ErrBundle, ManifestName, err)
	}
	if err != nil {
		return m, nil, err
	}
	if m, err = parseManifest(data, o.known); err != nil {
		return m, nil, err
	}
	if native && o.variant != "" {
		err = m.useVariant(d, wanted)
	}
	return m, data, err
}

// checkSize sums up the sizes of a bundle's files for check.
func checkSize(fsys fs.FS, check func(int64) error) error {
	var total int64
	return fs.WalkDir(fsys, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := fs.Stat(fsys, path); err == nil {
			total += info.Size()
		}
		return check(total)
	})
}

// Verify compares every file that was not read yet with its hash in the manifest. Errors wrap
// ErrBundle.
func (b *Bundle) Verify() error {
	if !b.hashes {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(b.SHA256)) {
		if b.isVerified(name) {
			continue
		}
		f, err := b.fsys.Open(name)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBundle, err)
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBundle, err)
		}
		if err := b.compare(name, h.Sum(nil)); err != nil {
			return err
		}
	}
	return nil
}

// check compares a file that was read with its hash in the manifest, once.
func (b *Bundle) check(name string, content iter.Seq[[]byte]) error {
	if _, known := b.SHA256[name]; !known || !b.hashes || b.isVerified(name) {
		return nil
	}
	h := sha256.New()
	for piece := range content {
		h.Write(piece)
	}
	return b.compare(name, h.Sum(nil))
}

func (b *Bundle) isVerified(name string) bool {
	if files, ok := onnx.Embedded(b.fsys); ok {
		if _, ok := verifiedEmbedded.Load(embeddedFile{files, name, b.SHA256[name]}); ok {
			return true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.verified[name]
}

// verifiedEmbedded are the embeddedFiles whose hash was right. They cannot change, so that a program
// which opens its model again need not hash it again.
var verifiedEmbedded sync.Map

type embeddedFile struct {
	files        embed.FS
	name, sha256 string
}

// compare refuses a file whose hash is not the manifest's, and records the others as verified.
func (b *Bundle) compare(name string, sum []byte) error {
	if got, want := hex.EncodeToString(sum), strings.ToLower(b.SHA256[name]); got != want {
		return fmt.Errorf("%w: %s is damaged or was changed: sha256 %s, the manifest says %s",
			ErrBundle, name, got, want)
	}
	if files, ok := onnx.Embedded(b.fsys); ok {
		verifiedEmbedded.Store(embeddedFile{files, name, b.SHA256[name]}, true)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verified[name] = true
	return nil
}

// named lists the files the manifest itself refers to.
func (b *Bundle) named() []string {
	names := slices.Collect(maps.Values(b.Graphs))
	if b.Projection != "" {
		names = append(names, b.Projection)
	}
	return names
}

// Close releases the directory. Graphs opened from the bundle stay usable.
func (b *Bundle) Close() error {
	if b.folder != nil {
		return b.folder.Close()
	}
	return nil
}

// Has reports whether the bundle has a graph for the role.
func (b *Bundle) Has(role string) bool { return b.Graphs[role] != "" }

// Graph returns the source of a role's graph, for an engine to open. A missing role gives an error
// that wraps ErrBundle.
func (b *Bundle) Graph(role string) (engine.Source, error) {
	name, ok := b.Graphs[role]
	if !ok {
		return engine.Source{}, fmt.Errorf("%w: family %s needs a graph %q; the bundle has %v",
			ErrBundle, b.Family, role, slices.Sorted(maps.Keys(b.Graphs)))
	}
	return engine.Source{FS: b.fsys, Name: name, Check: b.check}, nil
}

// File returns the content of a file of the bundle, such as tokenizer.json, from the root or else the
// first of Folders that has it. For a directory without
// xpipe.json, that name gives the manifest derived from its layout. A byte order mark in front of
// JSON is not part of the content. Errors wrap ErrBundle, and fs.ErrNotExist where there is no such
// file.
func (b *Bundle) File(name string) ([]byte, error) {
	if name == ManifestName {
		return bytes.Clone(b.manifest), nil
	}
	b.mu.Lock()
	kept, ok := b.small[name]
	b.mu.Unlock()
	if ok {
		return bytes.Clone(kept), nil
	}
	data, err := fs.ReadFile(b.fsys, name)
	at := name
	for _, folder := range b.Folders {
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		inside, insideErr := fs.ReadFile(b.fsys, path.Join(folder, name))
		if !errors.Is(insideErr, fs.ErrNotExist) {
			at, data, err = path.Join(folder, name), inside, insideErr
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missingFile{fmt.Sprintf("%v: there is no %s; the folder has %s", ErrBundle, name, b.others())}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if err := b.check(at, slices.Values([][]byte{data})); err != nil {
		return nil, err
	}
	if path.Ext(name) == ".json" {
		if data, err = bom.Strip(data); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrBundle, name, err)
		}
	}
	if len(data) <= smallFile {
		b.mu.Lock()
		b.small[name] = bytes.Clone(data)
		b.mu.Unlock()
	}
	return data, nil
}

// missingFile is the error for a file that is not there, which says what is.
type missingFile struct{ text string }

func (e missingFile) Error() string   { return e.text }
func (e missingFile) Unwrap() []error { return []error{ErrBundle, fs.ErrNotExist} }

// others lists the files of the bundle that are no graphs and hold no weights.
func (b *Bundle) others() string {
	var names []string
	for _, name := range b.names {
		if IsSmall(name) && name != CardName {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none of its kind"
	}
	return strings.Join(names, ", ")
}

// JSON decodes a JSON file of the bundle into v. Errors are those of File, or wrap ErrBundle.
func (b *Bundle) JSON(name string, v any) error {
	data, err := b.File(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBundle, name, err)
	}
	return nil
}
