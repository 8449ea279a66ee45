package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/internal/sweep"
)

// beside moves the largest weight of a graph into a file beside it, and hashes both.
func beside(graph string) edit {
	return func(t *testing.T, f files) {
		data := graph + "_data"
		change(graph, func(m *pb.ModelProto) { f[data] = weight(m).RawData }, outside(filepath.Base(data), "", ""))(t, f)
		for _, name := range []string{graph, data} {
			sum := sha256.Sum256(f[name])
			set(manifestFile, hex.EncodeToString(sum[:]), "sha256", name)(t, f)
		}
	}
}

// A file that is damaged, cut short or gone is named when the bundle is opened, by an error of the
// bundle, whoever reads the file: a graph's external data is read by ONNX Runtime itself.
func TestDamagedFilesAreNamed(t *testing.T) {
	t.Parallel()
	good := goodFiles(t, "blip2-opt")
	beside(decoderFile)(t, good)
	write := func(t *testing.T, dir, name string, data []byte) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		eng = sharing(t, eng) // which opens the decoder, with its external data, each time
		dir := t.TempDir()
		for name, data := range good {
			write(t, dir, name, data)
		}
		for file, name := range slices.Sorted(maps.Keys(good)) {
			if name == manifestFile {
				continue
			}
			for i, damaged := range []struct {
				damage string
				data   []byte
			}{
				{"changed", append([]byte{good[name][0] ^ 1}, good[name][1:]...)},
				{"cut", good[name][:len(good[name])/2]},
				{"empty", []byte{}},
				{"gone", nil},
			} {
				damage, data := damaged.damage, damaged.data
				if i > 0 && !sweep.Keeps(4*file+i, 2) {
					continue
				}
				if data != nil {
					write(t, dir, name, data)
				} else if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
					t.Fatal(err)
				}
				p, err := Open(t.Context(), dir, WithEngine(eng))
				if err == nil {
					p.Close()
				}
				if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), name) {
					t.Errorf("%s %s: %v", name, damage, err)
				}
				write(t, dir, name, good[name])
			}
		}
	})
}
