package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/crossattn/xpipe/studio"
)

const upstreamColumns = "SELECT id, coalesce(workspace, ''), name, url, models, key IS NOT NULL, created, updated FROM upstreams "

func scanUpstream(scan func(...any) error) (u studio.Upstream, err error) {
	var t stamp
	var models string
	if err = scan(&u.ID, &u.Workspace, &u.Name, &u.URL, &models, &u.HasKey, &t.created, &t.updated); err != nil {
		return u, err
	}
	u.Stamp = t.Stamp()
	return u, fromJSON(models, &u.Models)
}

func getUpstream(ctx context.Context, q querier, id studio.ID) (*studio.Upstream, error) {
	return row(ctx, q, "upstream", scanUpstream, upstreamColumns+"WHERE id = ?", id)
}

// AddUpstream adds an upstream, without a key.
func (s *Store) AddUpstream(ctx context.Context, u *studio.Upstream) error {
	return s.write(ctx, func(tx *sql.Tx) error { return s.addUpstream(ctx, tx, u) })
}

func (s *Store) addUpstream(ctx context.Context, tx *sql.Tx, u *studio.Upstream) error {
	if err := u.Check(); err != nil {
		return err
	}
	if err := s.begin(&u.ID, &u.Stamp); err != nil {
		return err
	}
	var workspace any
	if u.Workspace != "" {
		if _, err := getWorkspace(ctx, tx, u.Workspace); err != nil {
			return err
		}
		workspace = u.Workspace
	}
	u.HasKey = false
	models, err := toJSON(slices.Concat([]string{}, u.Models))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO upstreams (id, workspace, name, url, models, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?)",
		u.ID, workspace, u.Name, u.URL, models, u.Created.UnixMicro(), u.Updated.UnixMicro())
	return err
}

// UpdateUpstream changes an upstream. A key goes where the address changes.
func (s *Store) UpdateUpstream(ctx context.Context, id studio.ID, change func(*studio.Upstream) error) (*studio.Upstream, error) {
	get := func(q querier) (*studio.Upstream, error) { return getUpstream(ctx, q, id) }
	return update(ctx, s, get, change, func(tx *sql.Tx, before, u *studio.Upstream) error {
		u.ID, u.Workspace, u.Stamp, u.HasKey = before.ID, before.Workspace, before.Stamp, before.HasKey
		u.Updated = at(s.tick())
		if err := u.Check(); err != nil {
			return err
		}
		models, err := toJSON(slices.Concat([]string{}, u.Models))
		if err != nil {
			return err
		}
		if u.URL != before.URL {
			u.HasKey = false
		}
		_, err = tx.ExecContext(ctx, "UPDATE upstreams SET name = ?, url = ?, models = ?, key = iif(?, key, NULL), updated = ? WHERE id = ?",
			u.Name, u.URL, models, u.HasKey, u.Updated.UnixMicro(), id)
		return err
	})
}

// Upstream returns an upstream.
func (s *Store) Upstream(ctx context.Context, id studio.ID) (*studio.Upstream, error) {
	return getUpstream(ctx, s.reader, id)
}

// Upstreams lists the upstreams of a workspace and those of the whole studio.
func (s *Store) Upstreams(ctx context.Context, workspace studio.ID) ([]studio.Upstream, error) {
	return rows(ctx, s.reader, scanUpstream,
		upstreamColumns+"WHERE workspace IS NULL OR workspace = ? ORDER BY name COLLATE NOCASE, id", workspace)
}

// RemoveUpstream deletes an upstream with its key.
func (s *Store) RemoveUpstream(ctx context.Context, id studio.ID) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := getUpstream(ctx, tx, id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM upstreams WHERE id = ?", id)
		return err
	})
}

// SetKey keeps the key of an upstream, sealed.
func (s *Store) SetKey(ctx context.Context, upstream studio.ID, key studio.Secret) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		u, err := getUpstream(ctx, tx, upstream)
		if err != nil {
			return err
		}
		var sealed []byte
		if key != "" {
			if sealed, err = s.keys.seal(string(key), about(u)); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "UPDATE upstreams SET key = ?, updated = ? WHERE id = ?", sealed, s.tick(), upstream)
		return err
	})
}

// Key returns the key of an upstream.
func (s *Store) Key(ctx context.Context, upstream studio.ID) (studio.Secret, error) {
	u, err := getUpstream(ctx, s.reader, upstream)
	if err != nil {
		return "", err
	}
	sealed, err := row(ctx, s.reader, "upstream", one[[]byte], "SELECT key FROM upstreams WHERE id = ?", upstream)
	if err != nil {
		return "", err
	}
	if *sealed == nil {
		return "", fmt.Errorf("%w: the upstream %q has no key", studio.ErrNotFound, u.Name)
	}
	key, err := s.keys.open(*sealed, about(u))
	if err != nil {
		return "", fmt.Errorf("upstream %q: %w", u.Name, err)
	}
	return studio.Secret(key), nil
}

// about is what a sealed key is bound to. Whoever can write to the database alone cannot make it go
// to another server.
func about(u *studio.Upstream) string { return "xpipe upstream\x00" + string(u.ID) + "\x00" + u.URL }

// keyring seals keys with the key file, by AES-256-GCM.
type keyring struct {
	path string
	mu   sync.Mutex
	aead cipher.AEAD
}

// load reads the key file; make makes it where there is none.
func (k *keyring) load(make bool) (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.aead != nil {
		return k.aead, nil
	}
	text, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		if !make {
			return nil, fmt.Errorf("%w: there is no %s; enter the keys again", studio.ErrKey, keyName)
		}
		text, err = k.create()
	}
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(k.path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: others may read %s; chmod 600 it, and change the keys if they did", studio.ErrKey, k.path)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%w: %s does not hold 64 hexadecimal digits", studio.ErrKey, k.path)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	k.aead, err = cipher.NewGCM(block)
	return k.aead, err
}

// create makes the key file: on the disk before anything is sealed with it.
func (k *keyring) create() ([]byte, error) {
	key := make([]byte, 32)
	rand.Read(key)
	text := []byte(hex.EncodeToString(key) + "\n")
	return text, writeFile(k.path, text)
}

func (k *keyring) seal(plain, about string) ([]byte, error) {
	aead, err := k.load(true)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, []byte(plain), []byte(about)), nil
}

func (k *keyring) open(sealed []byte, about string) (string, error) {
	aead, err := k.load(false)
	if err != nil {
		return "", err
	}
	n := aead.NonceSize()
	if len(sealed) < n {
		return "", studio.ErrKey
	}
	plain, err := aead.Open(nil, sealed[:n], sealed[n:], []byte(about))
	if err != nil {
		return "", fmt.Errorf("%w: it was sealed with another key file, or changed; enter it again", studio.ErrKey)
	}
	return string(plain), nil
}
