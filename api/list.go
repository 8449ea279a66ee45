package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"iter"
	"os"
	"strings"

	"golang.org/x/text/encoding/unicode"
)

// content is what a stream holds.
type content int

const (
	contentText    content = iota // lines, such as names of files
	contentPicture                // or anything else that is no text
	contentShard                  // a .tar
)

// What files begin with.
const (
	gzipMagic = "\x1f\x8b"
	zstdMagic = "\x28\xb5\x2f\xfd"

	utf8Mark    = "\xef\xbb\xbf"
	utf16Little = "\xff\xfe"
	utf16Big    = "\xfe\xff"
)

// sniffed is how many bytes tell what a stream holds: the header of a .tar.
const sniffed = 512

// sniff says what a stream holds. A picture is told from a list of names by a byte that no name
// has, since a name may begin as a picture does: BM.png, GIF89a.png, "II*.png". It waits for no
// more of a list than its first line.
func sniff(in *bufio.Reader) (content, error) {
	for n := 16; ; n = min(2*n, sniffed) {
		start, err := in.Peek(n)
		if len(start) == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				err = errors.New("it is empty")
			}
			return 0, err
		}
		if there := min(in.Buffered(), sniffed); there > len(start) {
			start, err = in.Peek(there)
		}
		whole := err != nil || len(start) >= sniffed
		kind := contentOf(start)
		if whole || kind == contentText && bytes.ContainsAny(start, "\n\x00") {
			return kind, nil
		}
	}
}

// contentOf says what begins so.
func contentOf(start []byte) content {
	begins := func(with string) bool { return bytes.HasPrefix(start, []byte(with)) }
	switch {
	case begins(utf8Mark), begins(utf16Little), begins(utf16Big):
		return contentText
	case begins(gzipMagic), isZstd(start), isBzip2(start), isTar(start),
		unreadArchive(start) != "":
		return contentShard
	case hasPictureSignature(start) || !isPlain(start) && !isNulList(start):
		return contentPicture
	}
	return contentText
}

// isNulList says whether names with a zero byte behind each begin so, as find -print0 writes them.
func isNulList(start []byte) bool {
	rest := bytes.TrimSuffix(start, []byte{0})
	return len(rest) > 0 && rest[0] != 0 && !bytes.Contains(rest, []byte{0, 0}) &&
		isPlain(bytes.ReplaceAll(rest, []byte{0}, []byte{'\n'}))
}

// isPlain says whether all bytes may be those of names and of ends of lines. A name may have
// control characters, but not many, and no 0.
func isPlain(start []byte) bool {
	controls := 0
	for _, c := range start {
		if c == 0 {
			return false
		}
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			controls++
		}
	}
	return controls*10 <= len(start)+30
}

// isZstd says whether compressed bytes begin so: with a frame, or with one to skip, as pzstd does.
func isZstd(start []byte) bool {
	return bytes.HasPrefix(start, []byte(zstdMagic)) ||
		len(start) >= 4 && start[0]&0xf0 == 0x50 && string(start[1:4]) == "\x2a\x4d\x18"
}

// isBzip2 says whether compressed bytes begin so: with the size of blocks, and the first block.
func isBzip2(start []byte) bool {
	return len(start) >= 10 && string(start[:3]) == "BZh" && string(start[4:10]) == "1AY&SY"
}

// isTar says whether a .tar begins so: with a header whose checksum is right, or with the zeros of
// one that is empty.
func isTar(start []byte) bool {
	if len(start) < sniffed {
		return false
	}
	if isZero(start[:sniffed]) {
		return true
	}
	sum := 8 * int(' ') // the checksum itself counts as spaces
	for i, c := range start[:sniffed] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	written := 0
	digits := 0
	for _, c := range bytes.Trim(start[148:156], " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		written = written*8 + int(c-'0')
		digits++
	}
	return digits > 0 && written == sum
}

func isZero(block []byte) bool { return bytes.Count(block, []byte{0}) == len(block) }

// hasPictureSignature says whether a picture, or a document, begins so, and no list of names.
func hasPictureSignature(start []byte) bool {
	begins := func(with ...string) bool {
		for _, w := range with {
			if bytes.HasPrefix(start, []byte(w)) {
				return true
			}
		}
		return false
	}
	at := func(i int, what string) bool {
		return len(start) >= i+len(what) && string(start[i:i+len(what)]) == what
	}
	switch {
	case begins("\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "II*\x00", "MM\x00*", "II+\x00", "MM\x00+",
		"qoif\x00", "\x00\x00\x01\x00", "\x00\x00\x00\x0cjP  ", "\xff\x0a", "\xff\x4f\xff\x51",
		"%PDF-"):
		return true
	case begins("GIF87a", "GIF89a"):
		// Seven bytes of sizes and flags follow.
		return bytes.ContainsFunc(start[6:min(13, len(start))], func(r rune) bool {
			return r < '\t' || r >= 0x7f
		})
	case begins("BM"):
		return len(start) >= 10 && bytes.IndexByte(start[2:10], 0) >= 0
	case begins("RIFF"):
		return at(8, "WEBPVP8")
	case at(4, "ftyp"):
		return start[0] == 0
	case len(start) > 3 && start[0] == 'P' && start[1] >= '1' && start[1] <= '7':
		// PNM: a size, or a comment, behind white space
		next := bytes.TrimLeft(start[2:], " \t\r\n")
		return len(next) < len(start)-2 && len(next) > 0 &&
			(next[0] >= '0' && next[0] <= '9' || next[0] == '#' ||
				bytes.HasPrefix(next, []byte("WIDTH")))
	}
	return false
}

// textReader reads text without the byte order mark that Windows writes in front of it, and UTF-16
// that begins with one as UTF-8.
func textReader(r io.Reader) *bufio.Reader {
	in := bufio.NewReader(r)
	start, _ := in.Peek(len(utf8Mark))
	switch {
	case bytes.HasPrefix(start, []byte(utf8Mark)):
		in.Discard(len(utf8Mark))
	case bytes.HasPrefix(start, []byte(utf16Little)), bytes.HasPrefix(start, []byte(utf16Big)):
		decoder := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder()
		return bufio.NewReader(decoder.Reader(in))
	}
	return in
}

// standardInput is one picture, a shard, or a list.
func (s Sources) standardInput() (part, error) {
	in := bufio.NewReader(s.stdin())
	kind, err := sniff(in)
	if err != nil {
		return part{}, Inputf("standard input: %w", err)
	}
	switch kind {
	case contentPicture:
		load := func() (image.Image, error) { return s.Decode("standard input", in) }
		return part{func(yield func(Picture, error) bool) {
			yield(Picture{Name: stdinName, Load: load}, nil)
		}, 1}, nil
	case contentShard:
		return part{s.stdinShard(in), -1}, nil
	}
	return part{s.list("standard input", in), -1}, nil
}

// listFile is the list in a file, or with "-" on standard input.
func (s Sources) listFile(path string) (part, error) {
	name, r := path, s.stdin()
	var f *os.File
	if path == stdinName {
		name = "standard input"
	} else {
		info, err := os.Stat(path)
		if err != nil {
			return part{}, WithKind(err, KindInput)
		}
		if info.IsDir() {
			return part{}, Inputf("%s is a folder, not a list of %s; give it without --list",
				path, s.search().kind.many)
		}
		if f, err = os.Open(path); err != nil {
			return part{}, WithKind(err, KindInput)
		}
		r = f
	}
	in := bufio.NewReader(r)
	kind, err := sniff(in)
	if err == nil && kind != contentText {
		files := s.search().kind
		what := map[content]string{contentPicture: "a " + files.one, contentShard: "a shard"}[kind]
		err = fmt.Errorf("it is %s, not a list of %s; give it without --list", what, files.many)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return part{}, Inputf("%s: %w", name, err)
	}
	return part{func(yield func(Picture, error) bool) {
		if f != nil {
			defer f.Close()
		}
		s.list(name, in)(yield)
	}, -1}, nil
}

// list gives the pictures that each line stands for. A line that stands for nothing is a picture
// that fails. Errors of shards come at the end.
func (s Sources) list(name string, r io.Reader) iter.Seq2[Picture, error] {
	return func(yield func(Picture, error) bool) {
		var errs []error
		in := textReader(r)
		end := byte('\n')
		// What was sniffed is buffered; more may be long in coming.
		start, _ := in.Peek(min(in.Buffered(), sniffed))
		if bytes.IndexByte(start, 0) >= 0 && isNulList(start) {
			end = 0
		}
		for more := true; more; {
			line, err := in.ReadString(end)
			more = err == nil
			if err != nil && err != io.EOF {
				errs = append(errs, Inputf("%s: %w", name, err))
			}
			entry := strings.TrimSuffix(line, "\x00")
			if end == '\n' {
				entry = entryOf(strings.TrimRight(line, "\r\n"))
			}
			if entry == "" || isResourceFork(entry) {
				continue
			}
			for p, err := range s.listed(name, entry) {
				if err != nil {
					errs = append(errs, err)
				} else if !yield(p, nil) {
					return
				}
			}
		}
		if err := errors.Join(errs...); err != nil {
			yield(Picture{}, err)
		}
	}
}

// entryOf is a line without the spaces around it, unless there is a file with them.
func entryOf(line string) string {
	trimmed := strings.TrimSpace(line)
	if trimmed != line {
		if _, err := os.Lstat(line); err == nil {
			return line
		}
	}
	return trimmed
}

// listed are the pictures that a line of a list stands for.
func (s Sources) listed(list, entry string) iter.Seq2[Picture, error] {
	var p part
	var err error
	switch {
	case entry == stdinName:
		err = Inputf(`%s: "-" in a list stands for nothing`, list)
	case strings.HasPrefix(entry, "{\"") || strings.HasPrefix(entry, "[{"):
		err = Inputf("%s: a line is JSON, where a list has the name of a file on each line: %.60s",
			list, entry)
	default:
		p, err = s.expandPath(entry, true)
	}
	if err == nil {
		return p.pictures
	}
	return func(yield func(Picture, error) bool) {
		yield(Picture{Name: entry, Load: func() (image.Image, error) { return nil, err }}, nil)
	}
}
