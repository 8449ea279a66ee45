package enginetest

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"hash/maphash"
	"io/fs"
	"sync"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx"
)

// Share returns an engine that opens each graph once for all who ask for it with the same options,
// and keeps it open until the process ends: to open one costs more than most tests do with it.
// Files are read and checked at each opening, but embedded ones, which cannot change, once. Graphs
// with external data are not shared. ONNX Runtime takes one thread where none are asked for: those
// of each session that is open wait for its next run by spinning.
func Share(eng engine.Engine) engine.Engine { return &shared{Engine: eng} }

type shared struct {
	engine.Engine
	graphs   sync.Map // of *sharedGraph, by sharedKey
	embedded sync.Map // of content, by embeddedFile: files that were read and passed their check
}

type content struct {
	hash uint64
	size int
}

type embeddedFile struct {
	files embed.FS
	name  string
}

type sharedKey struct {
	content
	name, options string
}

type sharedGraph struct {
	mu      sync.Mutex
	session engine.Session // nil until an opening has succeeded
}

var contentSeed = maphash.MakeSeed()

func (e *shared) Open(
	ctx context.Context, source engine.Source, opts engine.Options,
) (engine.Session, error) {
	if e.Name() == "ort" && opts.Threads == 0 {
		opts.Threads = 1
	}
	var file embeddedFile
	files, isEmbedded := onnx.Embedded(source.FS)
	if isEmbedded {
		file = embeddedFile{files, source.Name}
		if known, ok := e.embedded.Load(file); ok && ctx.Err() == nil {
			return e.open(ctx, source, opts, known.(content), nil)
		}
	}
	data, err := fs.ReadFile(source.FS, source.Name)
	external := bytes.Contains(data, []byte("location")) // the key of the file's name
	if err != nil || external || ctx.Err() != nil {
		return e.Engine.Open(ctx, source, opts)
	}
	of := content{maphash.Bytes(contentSeed, data), len(data)}
	session, err := e.open(ctx, source, opts, of, func() error {
		return source.Checked(source.Name, data)
	})
	if err == nil && isEmbedded && source.Check != nil {
		e.embedded.Store(file, of)
	}
	return session, err
}

// open opens a graph of this content, or takes the open one after its check, where there is one.
func (e *shared) open(
	ctx context.Context, source engine.Source, opts engine.Options, of content, check func() error,
) (engine.Session, error) {
	key := sharedKey{of, source.Name, fmt.Sprint(opts)}
	entry, _ := e.graphs.LoadOrStore(key, &sharedGraph{})
	graph := entry.(*sharedGraph)
	graph.mu.Lock()
	defer graph.mu.Unlock()
	if graph.session == nil {
		session, err := e.Engine.Open(ctx, source, opts)
		if err != nil {
			return nil, err
		}
		graph.session = session
	} else if check != nil && check() != nil {
		return e.Engine.Open(ctx, source, opts) // fails in the engine's own words
	}
	if tapper, ok := graph.session.(engine.Tapper); ok {
		return leftOpenTapper{tapper}, nil
	}
	return leftOpen{graph.session}, nil
}

// leftOpen and leftOpenTapper are sessions that others go on using.
type (
	leftOpen       struct{ engine.Session }
	leftOpenTapper struct{ engine.Tapper }
)

func (leftOpen) Close() error       { return nil }
func (leftOpenTapper) Close() error { return nil }
