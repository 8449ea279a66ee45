package api

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"fmt"
	"image"
	"io"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
	"github.com/klauspost/compress/zstd"
)

// shardSuffixes are the files that are shards, those included that are packed in a way that is told
// and not read.
var shardSuffixes = []string{
	".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd", ".tzst", ".tar.bz2", ".tbz2", ".tbz",
	".tar.xz", ".txz", ".tar.lz4", ".zip", ".7z",
}

// unread are archives that are not read, by what they begin with.
var unread = map[string]string{
	"\xfd7zXZ\x00": "xz", "\x04\x22\x4d\x18": "lz4", "PK\x03\x04": "zip", "7z\xbc\xaf": "7z",
}

// unreadArchive is what packed an archive that begins so and that is not read; "" is any other.
func unreadArchive(start []byte) string {
	for magic, name := range unread {
		if bytes.HasPrefix(start, []byte(magic)) {
			return name
		}
	}
	return ""
}

func isShardName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(shardSuffixes, func(s string) bool {
		return strings.HasSuffix(name, s)
	})
}

// mostWindow is the memory that unpacking a .zst may take, that of the zstd program.
const mostWindow = 128 << 20

// unpack undoes the compression of a shard, which its first bytes tell, whatever its name.
func unpack(r io.Reader) (io.Reader, func(), error) {
	in := bufio.NewReader(r)
	start, _ := in.Peek(10)
	if by := unreadArchive(start); by != "" {
		return nil, nil, fmt.Errorf("it is packed by %s; a .tar, .tar.gz or .tar.zst is read", by)
	}
	switch {
	case bytes.HasPrefix(start, []byte(gzipMagic)):
		z, err := gzip.NewReader(in)
		return z, func() {}, err
	case isZstd(start):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(mostWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case isBzip2(start):
		return bzip2.NewReader(in), func() {}, nil
	}
	if file, ok := r.(io.Seeker); ok { // which skips members without reading them
		if _, err := file.Seek(0, io.SeekStart); err == nil {
			return r, func() {}, nil
		}
	}
	return in, func() {}, nil
}

// shardReader reads a .tar on the disk, or on standard input.
type shardReader struct {
	sources Sources
	name    string
	stdin   bool // which cannot be read again
	members map[string]member
	kept    []kept // of standard input, for links to them; the latest last
}

// kept is the bytes of a member that has gone by on standard input.
type kept struct {
	name string
	data []byte
}

// mostKept bounds the memory for kept.
const mostKept = 64 << 20

// member is where the bytes of a member are.
type member struct {
	index int   // among all members
	at    int64 // in the file; below 0 where they have to be looked for
	size  int64
}

// mostLinks is how many links may lead to a member.
const mostLinks = 8

// shard lists the pictures of a .tar. They are read as the list goes on, so a shard takes no more
// memory than its pictures in progress.
func (s Sources) shard(path string) iter.Seq2[Picture, error] {
	return func(yield func(Picture, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Picture{}, WithKind(err, KindInput))
			return
		}
		defer f.Close()
		sh := &shardReader{sources: s, name: path, members: map[string]member{}}
		sh.pictures(f, yield)
	}
}

// stdinShard lists the pictures of a .tar on standard input.
func (s Sources) stdinShard(in io.Reader) iter.Seq2[Picture, error] {
	return func(yield func(Picture, error) bool) {
		sh := &shardReader{sources: s, name: stdinName, stdin: true, members: map[string]member{}}
		sh.pictures(in, yield)
	}
}

// pictures reads the shard and gives its pictures.
func (sh *shardReader) pictures(in io.Reader, yield func(Picture, error) bool) {
	r, done, err := unpack(in)
	if err != nil {
		yield(Picture{}, Inputf("%s: %w", sh.title(), err))
		return
	}
	defer done()
	file, plain := r.(*os.File) // whose place tells where a member's bytes are
	seen := map[string]int{}
	given := 0
	for tr, index := newMembers(r), 0; ; index++ {
		header, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			yield(Picture{}, sh.damaged(err))
			return
		}
		clean := path.Clean(header.Name)
		var load func() (image.Image, error)
		switch {
		case isFile(header):
			m := member{index, -1, header.Size}
			if plain && !isSparse(header) {
				if at, err := file.Seek(0, io.SeekCurrent); err == nil {
					m.at = at
				}
			}
			sh.members[clean] = m
			if !isPictureName(clean) {
				sh.sources.search().pass(sh.name + "/" + clean)
				continue
			}
			data, err := sh.read(tr)
			if isResourceForkData(clean, data) {
				continue
			}
			sh.keep(clean, data)
			load = func() (image.Image, error) { return sh.decode(header.Name, data, err) }
		case isLink(header) && isPictureName(clean) && !strings.HasPrefix(path.Base(clean), "._"):
			read := sh.linked(header, index)
			load = func() (image.Image, error) {
				data, err := read()
				return sh.decode(header.Name, data, err)
			}
		default:
			continue
		}
		name := sh.name + "/" + header.Name
		if seen[clean]++; seen[clean] > 1 {
			name = fmt.Sprintf("%s#%d", name, seen[clean])
		}
		given++
		if !yield(Picture{Name: name, Load: load}, nil) {
			return
		}
	}
	if given == 0 {
		yield(Picture{}, Inputf("%s: no pictures in it (%s)", sh.title(),
			strings.Join(vision.Suffixes(), " ")))
	}
}

// members reads the members of a .tar, and of those behind its end: "cat a.tar b.tar" makes a shard
// of two.
type members struct {
	*tar.Reader
	in io.Reader
}

func newMembers(in io.Reader) *members { return &members{tar.NewReader(in), in} }

// Next goes on to the next member; io.EOF is the end of the last .tar.
func (m *members) Next() (*tar.Header, error) {
	for {
		header, err := m.Reader.Next()
		if err != io.EOF || !m.another() {
			return header, err
		}
	}
}

// another says whether a .tar follows the zeros at the end of one.
func (m *members) another() bool {
	block := make([]byte, sniffed)
	for {
		if _, err := io.ReadFull(m.in, block); err != nil {
			return false
		}
		if isZero(block) {
			continue
		}
		if !isTar(block) { // what lies behind a .tar is none of it
			return false
		}
		file, ok := m.in.(io.Seeker)
		if ok {
			_, err := file.Seek(-int64(len(block)), io.SeekCurrent)
			ok = err == nil
		}
		if !ok {
			m.in = io.MultiReader(bytes.NewReader(block), m.in)
		}
		m.Reader = tar.NewReader(m.in)
		return true
	}
}

// isFile says whether a member has bytes of its own.
func isFile(h *tar.Header) bool {
	return h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeCont ||
		h.Typeflag == tar.TypeGNUSparse
}

// isSparse says whether a member has holes, which the file leaves out.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func isLink(h *tar.Header) bool {
	return h.Typeflag == tar.TypeLink || h.Typeflag == tar.TypeSymlink
}

// target is the member that a link stands for. A hard link names it from the top of the shard, a
// symbolic one from its own folder.
func target(h *tar.Header) string {
	if h.Typeflag == tar.TypeLink || path.IsAbs(h.Linkname) {
		return path.Clean(h.Linkname)
	}
	return path.Join(path.Dir(h.Name), h.Linkname)
}

// title names the shard in messages.
func (sh *shardReader) title() string {
	if sh.name == stdinName {
		return "standard input"
	}
	return sh.name
}

func (sh *shardReader) damaged(err error) error {
	return Inputf("%s: damaged shard: %w", sh.title(), err)
}

// read reads a member into memory, and of one that is too long a byte more than there may be.
func (sh *shardReader) read(r io.Reader) ([]byte, error) {
	most := sh.sources.Limits.Vision().Bytes
	return io.ReadAll(io.LimitReader(r, max(most, most+1))) // the greatest has none above it
}

// decode decodes what read gave.
func (sh *shardReader) decode(name string, data []byte, err error) (image.Image, error) {
	name = sh.name + "/" + name
	most := sh.sources.Limits.Vision().Bytes
	switch {
	case err != nil:
		return nil, Inputf("%s: %w", name, err)
	case int64(len(data)) > most:
		return nil, fmt.Errorf("%s: %w", name, &pipeline.LimitError{
			Field: "ImageBytes", Text: fmt.Sprintf("more than %d bytes", most)})
	}
	return sh.sources.Decode(name, bytes.NewReader(data))
}

// keep keeps the bytes of a member of standard input.
func (sh *shardReader) keep(name string, data []byte) {
	if !sh.stdin || len(data) > mostKept {
		return
	}
	sh.kept = append(sh.kept, kept{name, data})
	total := 0
	for i := len(sh.kept) - 1; i >= 0; i-- {
		if total += len(sh.kept[i].data); total > mostKept {
			sh.kept = slices.Clone(sh.kept[i+1:])
			return
		}
	}
}

// linked returns what reads the member that a link stands for, the link being the one at index: a
// hard link stands for the member that had the name before it, a symbolic one for that which has it
// in the end.
func (sh *shardReader) linked(link *tar.Header, index int) func() ([]byte, error) {
	name := target(link)
	if sh.stdin {
		for _, k := range slices.Backward(sh.kept) {
			if k.name == name {
				sh.keep(path.Clean(link.Name), k.data) // for links to this one
				return func() ([]byte, error) { return k.data, nil }
			}
		}
		return func() ([]byte, error) {
			return nil, fmt.Errorf("it is a link to %s, which is not among what went by on "+
				"standard input just before; save the shard to a file", name)
		}
	}
	if link.Typeflag == tar.TypeSymlink {
		return func() ([]byte, error) { return sh.find(name, -1, 0) }
	}
	m, known := sh.members[name]
	switch {
	case known && m.at >= 0:
		return func() ([]byte, error) { return sh.readAt(m) }
	case known:
		return func() ([]byte, error) { return sh.find(name, m.index+1, 0) }
	}
	return func() ([]byte, error) { return sh.find(name, index, 0) }
}

// readAt reads a member whose place is known.
func (sh *shardReader) readAt(m member) ([]byte, error) {
	f, err := os.Open(sh.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sh.read(io.NewSectionReader(f, m.at, m.size))
}

// find reads the last member of a name among those before the one at end, or of all where end is
// below 0. links counts those on the way.
func (sh *shardReader) find(name string, end, links int) ([]byte, error) {
	f, err := os.Open(sh.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, done, err := unpack(f)
	if err != nil {
		return nil, err
	}
	defer done()
	var data []byte
	var link *tar.Header
	at, found := 0, false
	for tr, i := newMembers(r), 0; end < 0 || i < end; i++ {
		header, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch {
		case path.Clean(header.Name) != name:
		case isFile(header):
			if data, err = sh.read(tr); err != nil {
				return nil, err
			}
			link, found = nil, true
		case isLink(header):
			link, at = header, i
		}
	}
	switch {
	case link != nil && links < mostLinks:
		if link.Typeflag == tar.TypeLink {
			end = at
		}
		return sh.find(target(link), end, links+1)
	case link != nil:
		return nil, fmt.Errorf("it is a link to a link, more than %d times", mostLinks)
	case !found:
		return nil, fmt.Errorf("it is a link to %s, which is not in the shard", name)
	}
	return data, nil
}
