package store

import (
	"context"

	"github.com/crossattn/xpipe/studio"
)

// Usage says how much is held, with what is in the trash.
func (s *Store) Usage(ctx context.Context) (*studio.Usage, error) {
	scan := func(scan func(...any) error) (u studio.Usage, err error) {
		return u, scan(&u.Workspaces, &u.Chats, &u.Messages, &u.Blobs, &u.BlobBytes, &u.Bytes)
	}
	return row(ctx, s.reader, "studio", scan, `SELECT (SELECT count(*) FROM workspaces), (SELECT count(*) FROM chats),
		(SELECT count(*) FROM messages), (SELECT count(*) FROM blobs), (SELECT coalesce(sum(size), 0) FROM blobs),
		(SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)`)
}
