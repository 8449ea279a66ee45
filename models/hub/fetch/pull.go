package fetch

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/crossattn/xpipe/internal/filelock"
	"github.com/crossattn/xpipe/models/hub"
	"golang.org/x/sync/errgroup"
)

// Progress says how far a Pull is. Calls come one at a time.
type Progress struct {
	File        string // whose bytes came last
	Done, Total int64  // bytes of all files, those that were there included
}

// Pull fetches files of a repository's state into the cache and returns the folder of its snapshot.
// Files that the cache has are not fetched again; of one whose download broke off only the rest is.
// A file appears in the cache once its size and hash are those of the listing. progress may be nil.
//
// Errors wrap ErrDamaged, ErrServer, ErrGated, ErrNotFound or ErrOffline, or are those of the file
// system; files that are finished stay.
func (c *Client) Pull(ctx context.Context, info *Info, files []File, progress func(Progress)) (string, error) {
	if c.Offline {
		return "", fmt.Errorf("%s: %w", info.Ref, ErrOffline)
	}
	folder := filepath.Join(c.Cache.Dir, info.Ref.Folder())
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(folder) // nothing outside it is written, whatever links lie in it
	if err != nil {
		return "", err
	}
	defer root.Close()
	if err := root.MkdirAll("blobs", 0o777); err != nil {
		return "", err
	}
	p := &pull{Client: c, info: info, root: root, report: progress}
	for _, f := range files {
		p.total += f.Size
	}
	group, ctx := errgroup.WithContext(ctx)
	parallel := c.Parallel
	if parallel == 0 {
		parallel = 4
	}
	group.SetLimit(parallel)
	for _, f := range files {
		group.Go(func() error {
			if err := p.file(ctx, f); err != nil {
				return fmt.Errorf("%s: %s: %w", info.Ref, f.Path, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	if !hub.IsCommit(info.Ref.Revision) {
		if err := p.writeRef(); err != nil {
			return "", err
		}
	}
	return filepath.Join(folder, "snapshots", info.Commit), nil
}

// pull is one call of Pull.
type pull struct {
	*Client
	info *Info
	root *os.Root

	mu     sync.Mutex
	report func(Progress)
	done   int64
	total  int64
}

func (p *pull) add(name string, n int64) {
	if p.report == nil || n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.report(Progress{name, p.done, p.total})
}

// file puts one file into the snapshot.
func (p *pull) file(ctx context.Context, f File) error {
	pointer := path.Join("snapshots", p.info.Commit, f.Path)
	blob := "blobs/" + f.hash()
	unlock, err := p.lock(ctx, f)
	if err != nil {
		return err
	}
	defer unlock()
	if p.has(blob, f) || p.has(pointer, f) {
		p.add(f.Path, f.Size)
	} else if err := p.fetch(ctx, f, blob); err != nil {
		return err
	}
	return p.link(blob, pointer, f)
}

// lock waits until no other process fetches the blob. It is the lock of huggingface_hub; where the
// system has none, two processes may fetch the same bytes, and the last to rename them wins.
func (p *pull) lock(ctx context.Context, f File) (unlock func(), err error) {
	dir := filepath.Join(p.Cache.Dir, ".locks", p.info.Ref.Folder())
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	held, err := os.OpenFile(filepath.Join(dir, f.hash()+".lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	for {
		switch err := filelock.TryLock(held); {
		case err == nil, errors.Is(err, errors.ErrUnsupported):
			return func() { held.Close() }, nil
		case !errors.Is(err, filelock.ErrLocked):
			held.Close()
			return nil, err
		}
		if err := p.pause(ctx, 50*time.Millisecond); err != nil {
			held.Close()
			return nil, err
		}
	}
}

// has reports whether a file of the right size is there. Its hash was checked when it was put there.
func (p *pull) has(name string, f File) bool {
	info, err := p.root.Stat(name)
	if err != nil { // a link into the shared store leads out of the root
		info, err = os.Stat(filepath.Join(p.root.Name(), filepath.FromSlash(name)))
	}
	return err == nil && info.Mode().IsRegular() && info.Size() == f.Size
}

// fetch downloads a blob. What an attempt has received stays for the next one, in this call or a
// later one.
func (p *pull) fetch(ctx context.Context, f File, blob string) error {
	partial := blob + ".incomplete"
	out, err := p.root.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer out.Close()
	d := &download{pull: p, file: f, out: out, hash: f.newHash()}
	if err := d.resume(); err != nil {
		return err
	}
	restarted := false
	for {
		if err := p.retry(ctx, d.attempt); err != nil {
			return err
		}
		got := hex.EncodeToString(d.hash.Sum(nil))
		if got == f.hash() {
			break
		}
		// The beginning may have been left by another file or a broken disk: once more from byte 0.
		if d.kept == 0 || restarted {
			return errors.Join(
				fmt.Errorf("%w: its hash is %s, the listing says %s", ErrDamaged, got, f.hash()),
				p.root.Remove(partial))
		}
		restarted = true
		if err := d.restart(); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return p.root.Rename(partial, blob)
}

// newHash is the hash that names the file: SHA-256, or git's of a blob.
func (f File) newHash() hash.Hash {
	if f.SHA256 != "" {
		return sha256.New()
	}
	h := sha1.New()
	h.Write([]byte("blob " + strconv.FormatInt(f.Size, 10) + "\x00"))
	return h
}

// download is a file on its way.
type download struct {
	*pull
	file File
	out  *os.File
	hash hash.Hash
	at   int64 // bytes in out and in hash
	kept int64 // bytes of these that were there at the beginning
}

// resume takes in what an earlier download left.
func (d *download) resume() error {
	n, err := io.Copy(d.hash, d.out)
	if err != nil {
		return err
	}
	if n > d.file.Size {
		return d.restart()
	}
	d.at, d.kept = n, n
	d.add(d.file.Path, n)
	return nil
}

// restart forgets what was received.
func (d *download) restart() error {
	if err := d.out.Truncate(0); err != nil {
		return err
	}
	if _, err := d.out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	d.add(d.file.Path, -d.at)
	d.hash, d.at, d.kept = d.file.newHash(), 0, 0
	return nil
}

// attempt receives from where the file ends, until it is whole.
func (d *download) attempt(ctx context.Context) error {
	if d.at == d.file.Size {
		return nil
	}
	patience := d.Patience
	if patience == 0 {
		patience = 30 * time.Second
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := transient{fmt.Errorf("nothing came for %v", patience)}
	watch := time.AfterFunc(patience, func() { cancel(stalled) })
	defer watch.Stop()

	address := d.Endpoint + "/" + d.info.Ref.Repo + "/resolve/" + d.info.Commit + "/" + escape(d.file.Path)
	response, err := d.get(ctx, address, d.at)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusPartialContent:
		if !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.at)) {
			if err := d.restart(); err != nil {
				return err
			}
			return transient{errors.New("the server sent another part than was asked for")}
		}
	case http.StatusOK: // the server sends all of it, again
		if d.at > 0 {
			if err := d.restart(); err != nil {
				return err
			}
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if err := d.restart(); err != nil {
			return err
		}
		return transient{errors.New(response.Status)}
	default:
		return statusError(response)
	}
	buffer := make([]byte, 1<<17)
	for {
		n, err := response.Body.Read(buffer)
		watch.Reset(patience)
		if d.at+int64(n) > d.file.Size {
			return fmt.Errorf("%w: it has more than the %d bytes that the listing says", ErrDamaged, d.file.Size)
		}
		if _, err := d.out.Write(buffer[:n]); err != nil {
			return err
		}
		d.hash.Write(buffer[:n])
		d.at += int64(n)
		d.add(d.file.Path, int64(n))
		switch {
		case d.at == d.file.Size:
			return nil
		case errors.Is(err, io.EOF):
			return transient{fmt.Errorf("the connection ended after %d of %d bytes", d.at, d.file.Size)}
		case err != nil:
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return transient{err}
		}
	}
}

// escape makes a path a part of an address.
func escape(p string) string {
	parts := strings.Split(p, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// link makes the snapshot's file: a relative link to the blob, or where the system gives no links
// the blob itself, as huggingface_hub does it.
func (p *pull) link(blob, pointer string, f File) error {
	if p.has(pointer, f) {
		return nil
	}
	dir := path.Dir(pointer)
	if err := p.root.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := p.root.Remove(pointer); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	up := strings.Repeat("../", strings.Count(pointer, "/"))
	if err := p.root.Symlink(filepath.FromSlash(up+blob), pointer); err == nil {
		return nil
	}
	return p.root.Rename(blob, pointer)
}

// writeRef notes which commit the branch or tag stands for.
func (p *pull) writeRef() error {
	name := "refs/" + p.info.Ref.Revision
	if err := p.root.MkdirAll(path.Dir(name), 0o777); err != nil {
		return err
	}
	partial := name + ".incomplete"
	if err := p.root.WriteFile(partial, []byte(p.info.Commit), 0o666); err != nil {
		return err
	}
	return p.root.Rename(partial, name)
}
