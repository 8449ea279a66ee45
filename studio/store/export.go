package store

import (
	"context"
	"errors"
	"io"

	"github.com/crossattn/xpipe/studio"
)

func (s *Store) WriteChat(ctx context.Context, chat studio.ID, to studio.Sink) error {
	return errors.New("todo")
}
func (s *Store) WriteWorkspace(ctx context.Context, workspace studio.ID, to io.Writer) error {
	return errors.New("todo")
}
func (s *Store) ReadWorkspace(ctx context.Context, zip io.ReaderAt, size int64) (*studio.Workspace, error) {
	return nil, errors.New("todo")
}
