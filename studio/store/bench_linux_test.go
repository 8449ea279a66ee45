package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/crossattn/xpipe/studio"
	"golang.org/x/sys/unix"
)

// The studio that make bench-studio measures: made, the same each time.
const (
	benchChats    = 1_000
	benchMessages = 100_000
	benchPictures = 20_000
	benchDim      = 320 // clip-mini's
	benchRuns     = 20
)

// word makes up the n-th word, which sounds like one. Frequent words are short.
func word(n uint64) string {
	const syllables = "ba be bi bo bu da de di do du ga ge gi go gu ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu"
	list := strings.Fields(syllables)
	k := uint64(len(list))
	s := list[n%k]
	for n /= k; n > 0; n /= k {
		s += list[n%k]
	}
	return s
}

// benchVector lies around one of 50 things, as embeddings of pictures do.
func benchVector(r *rand.Rand) []float32 {
	v := make([]float32, benchDim)
	of := rand.New(rand.NewPCG(r.Uint64N(50), 7))
	for i := range v {
		v[i] = float32(1 + of.NormFloat64() + 0.7*r.NormFloat64())
	}
	return v
}

// makeBench fills a store. Contents have rows and no files: no search reads one.
func makeBench(ctx context.Context, s *Store) error {
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.1, 3, 30_000)
	text := func() string {
		words := make([]string, 20+r.IntN(80))
		for i := range words {
			words[i] = word(z.Uint64())
		}
		return strings.Join(words, " ")
	}
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	return s.write(ctx, func(tx *sql.Tx) error {
		var chats []studio.Chat
		var personas []studio.ID
		for range 20 {
			personas = append(personas, studio.NewID())
		}
		for i := range 20 {
			w := studio.Workspace{Name: fmt.Sprint("Workspace ", i)}
			if err := s.addWorkspace(ctx, tx, &w); err != nil {
				return err
			}
			for range benchChats / 20 {
				c := studio.Chat{Workspace: w.ID, Title: word(z.Uint64()) + " " + word(z.Uint64()), Tags: []string{fmt.Sprint("tag", r.IntN(10))}}
				if err := s.addChat(ctx, tx, &c); err != nil {
					return err
				}
				chats = append(chats, c)
			}
		}
		pictures := 0
		for i := range benchMessages {
			m := studio.Message{Chat: chats[r.IntN(len(chats))].ID, Role: studio.RoleUser, State: studio.Done, Parts: []studio.Part{studio.TextPart(text())}}
			m.Created = start.Add(time.Duration(i) * 8 * time.Minute)
			if i%2 == 1 {
				m.Role = studio.RoleAssistant
				m.Answer = &studio.Answer{Model: fmt.Sprint("model", r.IntN(10)), Persona: personas[r.IntN(20)], Seconds: 1, Settings: map[string]any{"num_beams": 3}}
			} else if pictures < benchPictures && i%4 == 0 {
				var hash [32]byte
				binary.BigEndian.PutUint64(hash[:], uint64(pictures))
				p := studio.Part{Kind: studio.KindPicture, Blob: studio.Hash(hex.EncodeToString(hash[:])), Name: fmt.Sprint("photo", pictures, ".jpg"), Type: "image/jpeg", Size: 1}
				var n int64
				err := tx.QueryRowContext(ctx, "INSERT INTO blobs (hash, size, created) VALUES (?, 1, 1) RETURNING n", p.Blob).Scan(&n)
				if err != nil {
					return err
				}
				v, err := normalized(benchVector(r))
				if err != nil {
					return err
				}
				var data []byte
				for _, x := range v {
					data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
				}
				if _, err := tx.ExecContext(ctx, "INSERT INTO vectors VALUES (?, 'clip-mini', ?)", n, data); err != nil {
					return err
				}
				m.Parts = append(m.Parts, p)
				pictures++
			}
			if err := s.addMessage(ctx, tx, &m); err != nil {
				return err
			}
		}
		return nil
	})
}

func init() { children["measure"] = measure }

// cpuTime is what the process took of the processors so far: on a machine that does other things, too,
// it says more than a clock.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var resident = regexp.MustCompile(`(?m)^VmHWM:\s*(\d+) kB$`)

// measure times searches in a studio of the size that the project promises, which it makes where the
// folder has none, and prints them and the memory that the process took at most.
func measure(dir string) error {
	ctx := context.Background()
	if _, err := os.Stat(filepath.Join(dir, databaseName)); err != nil {
		s, err := Open(ctx, dir, Options{})
		if err != nil {
			return err
		}
		began := time.Now()
		if err := makeBench(ctx, s); err != nil {
			return err
		}
		fmt.Printf("made in %.0f s; run it again to measure\n", time.Since(began).Seconds())
		return s.Close()
	}
	began := time.Now()
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	opened := time.Since(began)
	u, err := s.Usage(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d messages, %d chats, %d pictures, database of %.0f MB, opened in %d ms\n\n",
		u.Messages, u.Chats, u.Blobs, float64(u.Bytes)/1e6, opened.Milliseconds())
	workspaces, err := s.Workspaces(ctx)
	if err != nil {
		return err
	}
	one := workspaces[3].ID
	chats, err := s.Chats(ctx, studio.ChatFilter{Workspace: one})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(9, 9))
	like := benchVector(r)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| search\t| hits\t| median, ms\t| worst of 20, ms\t| processor, ms\t|\n|---\t|---\t|---\t|---\t|---\t|")
	day := func(n int) time.Time { return time.Date(2025, 6, n, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		name  string
		query studio.Query
	}{
		{"a word in nearly all messages", studio.Query{Words: word(0) + " "}},
		{"two frequent words", studio.Query{Words: word(1) + " " + word(2) + " "}},
		{"a word in some", studio.Query{Words: word(300) + " "}},
		{"a rare word", studio.Query{Words: word(9000) + " "}},
		{"two words in a row", studio.Query{Words: `"` + word(0) + " " + word(1) + `"`}},
		{"the beginning of a word, two letters", studio.Query{Words: "ba"}},
		{"the beginning of a word, four letters", studio.Query{Words: "bade"}},
		{"a frequent word, without another", studio.Query{Words: word(3) + " -" + word(0) + " "}},
		{"no word: the newest", studio.Query{}},
		{"a frequent word, by model and persona's role", studio.Query{Words: word(0) + " ", Model: "model3", Role: studio.RoleAssistant}},
		{"a frequent word in one workspace", studio.Query{Words: word(0) + " ", Workspaces: []studio.ID{one}}},
		{"a frequent word in one chat", studio.Query{Words: word(0) + " ", Chat: chats[0].ID}},
		{"a frequent word, by tag", studio.Query{Words: word(0) + " ", Tag: "tag3"}},
		{"a frequent word, with a picture", studio.Query{Words: word(0) + " ", Kind: studio.KindPicture}},
		{"a frequent word, in ten days", studio.Query{Words: word(0) + " ", From: day(1), Until: day(11)}},
		{"by model alone", studio.Query{Model: "model3"}},
		{"by model, in ten days", studio.Query{Model: "model3", From: day(1), Until: day(11)}},
		{"a picture like this one", studio.Query{Like: like, LikeModel: "clip-mini"}},
		{"a picture like this one, in one workspace", studio.Query{Like: like, LikeModel: "clip-mini", Workspaces: []studio.ID{one}}},
		{"a picture like this one, with a frequent word", studio.Query{Like: like, LikeModel: "clip-mini", Words: word(0) + " "}},
		{"a picture like this one, with a rare word", studio.Query{Like: like, LikeModel: "clip-mini", Words: word(3000) + " "}},
	} {
		var took []float64
		var hits *studio.Hits
		var used time.Duration
		for range benchRuns + 1 {
			began := time.Now()
			if hits, err = s.Search(ctx, c.query); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if took = append(took, float64(time.Since(began).Microseconds())/1000); len(took) == 1 {
				used = cpuTime()
			}
		}
		used = (cpuTime() - used) / benchRuns
		first := took[0]
		took = took[1:]
		slices.Sort(took)
		fmt.Fprintf(w, "| %s\t| %d\t| %.1f\t| %.1f (the first %.1f)\t| %.1f\t|\n", c.name, len(hits.Hits), took[benchRuns/2], took[benchRuns-1], first,
			float64(used.Microseconds())/1000)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	if m := resident.FindSubmatch(status); m != nil {
		var kb int
		fmt.Sscan(string(m[1]), &kb)
		fmt.Printf("\nmemory of the process at most: %d MiB\n", kb/1024)
	}
	return nil
}

func BenchmarkCandidates(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	m := &matrix{dim: benchDim, at: map[int64]int{}}
	for i := range int64(benchPictures) {
		v, err := normalized(benchVector(r))
		if err != nil {
			b.Fatal(err)
		}
		m.set(i+1, v)
	}
	query, err := normalized(benchVector(r))
	if err != nil {
		b.Fatal(err)
	}
	found := 0
	for b.Loop() {
		found = len(m.candidates(query, 50, nil))
	}
	b.ReportMetric(float64(found), "candidates")
}
