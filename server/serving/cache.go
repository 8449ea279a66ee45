package serving

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
)

// hash names the content of something that a client sent.
type hash [sha256.Size]byte

// cache keeps values by the hash of what they were made of, the most recently used ones within a
// bound of bytes. Callers that want one value at a time have it made once.
type cache[V any] struct {
	most int64
	size func(V) int64
	note func(hit bool) // of each call of get

	mu      sync.Mutex
	held    int64
	entries map[hash]*list.Element // of *entry[V]
	recent  *list.List             // most recently used first
	making  map[hash]*making[V]
}

type entry[V any] struct {
	key   hash
	value V
	size  int64
}

type making[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// errUnmade is the error of a value whose making panicked.
var errUnmade = errors.New("it could not be made")

func newCache[V any](most int64, size func(V) int64, note func(hit bool)) *cache[V] {
	return &cache[V]{
		most: most, size: size, note: note,
		entries: map[hash]*list.Element{}, recent: list.New(), making: map[hash]*making[V]{},
	}
}

// get returns the value of a key, and makes it where there is none. A caller that waits for another's
// making makes its own if that fails: the failure may be the other's, such as the end of its ctx.
func (c *cache[V]) get(ctx context.Context, key hash, produce func() (V, error)) (V, error) {
	c.mu.Lock()
	if at := c.entries[key]; at != nil {
		c.recent.MoveToFront(at)
		c.mu.Unlock()
		c.note(true)
		return at.Value.(*entry[V]).value, nil
	}
	if m := c.making[key]; m != nil {
		c.mu.Unlock()
		select {
		case <-m.done:
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
		if m.err == nil {
			c.note(true)
			return m.value, nil
		}
		c.note(false)
		return produce()
	}
	m := &making[V]{done: make(chan struct{}), err: errUnmade}
	c.making[key] = m
	c.mu.Unlock()
	c.note(false)
	defer func() {
		c.mu.Lock()
		delete(c.making, key)
		if m.err == nil {
			c.keep(key, m.value)
		}
		c.mu.Unlock()
		close(m.done)
	}()
	m.value, m.err = produce()
	return m.value, m.err
}

// keep adds a value and drops the least recently used ones beyond the bound.
func (c *cache[V]) keep(key hash, value V) {
	e := &entry[V]{key, value, c.size(value)}
	if e.size > c.most {
		return
	}
	c.entries[key] = c.recent.PushFront(e)
	c.held += e.size
	for c.held > c.most {
		oldest := c.recent.Back()
		c.recent.Remove(oldest)
		gone := oldest.Value.(*entry[V])
		delete(c.entries, gone.key)
		c.held -= gone.size
	}
}

// bytes returns the size of what is kept.
func (c *cache[V]) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}
