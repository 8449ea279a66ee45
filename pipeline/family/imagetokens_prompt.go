package family

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Compose returns the text, with a token in the place of each row of a picture, and then the
// pictures' features.
func (m *imageTokens) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	prompt, err := m.Write(parts)
	if err != nil {
		return nil, err
	}
	if len(encoded) > 1 {
		encoded = amidOthers(encoded)
	}
	switch {
	case m.kind.apart:
		return m.composeApart(prompt, encoded)
	case m.kind.ahead:
		return m.composeAhead(prompt, encoded)
	}
	seen, heard := bySense(encoded)
	if prompt, err = m.seenPlaces().lay(prompt, seen); err != nil {
		return nil, err
	}
	if m.hearing != nil {
		if prompt, err = m.hearing.places().lay(prompt, heard); err != nil {
			return nil, err
		}
	}
	if m.kind.finish != nil {
		prompt = m.kind.finish(m, prompt)
	}
	ids, err := m.read(prompt, m.kind.bare || templated(parts), !m.kind.bare)
	if err != nil {
		return nil, err
	}
	if places, rows := countID(ids, m.token), rowsIn(seen); places != rows {
		return nil, fmt.Errorf("%w: the prompt has %d places for pictures (token %q), and the "+
			"pictures have %d rows", graph.ErrPrompt, places, m.tokenText, rows)
	}
	if m.hearing != nil {
		if places, rows := countID(ids, m.hearing.token), rowsIn(heard); places != rows {
			return nil, fmt.Errorf("%w: the prompt has %d places for sounds (token %q), and the "+
				"sounds have %d rows", graph.ErrPrompt, places, m.hearing.tokenText, rows)
		}
	}
	return withPictures(prompt, ids, encoded), nil
}

// amidOthers returns what pictures are in a prompt of several.
func amidOthers(encoded []Encoded) []Encoded {
	encoded = slices.Clone(encoded)
	for i, e := range encoded {
		if e.Amid != nil {
			encoded[i].States = e.Amid
		}
	}
	return encoded
}

// rowsIn counts the rows of items.
func rowsIn(encoded []Encoded) (rows int) {
	for _, e := range encoded {
		rows += e.States.Dim(1)
	}
	return rows
}

// places are how a kind of items stands in a prompt.
type places struct {
	what        string // "pictures"
	placeholder string
	token       string                               // in whose places rows stand
	markup      func(token string, e Encoded) string // nil repeats the token
}

func (m *imageTokens) seenPlaces() places {
	return places{"pictures", m.placeholder, m.tokenText, m.kind.markup}
}

// lay gives each item the places of its rows in a prompt with a placeholder for each. A prompt that has a
// place for each row is laid out already.
func (p places) lay(prompt string, encoded []Encoded) (string, error) {
	switch named, rows := strings.Count(prompt, p.placeholder), rowsIn(encoded); {
	case named == len(encoded):
		return p.expand(prompt, encoded), nil
	case strings.Count(prompt, p.token) != rows:
		return "", fmt.Errorf("%w: the prompt has %q %d times, for %d %s of %d rows in all",
			graph.ErrPrompt, p.placeholder, named, len(encoded), p.what, rows)
	}
	return prompt, nil
}

// withPictures is what Compose returns: the text and the pictures' rows.
func withPictures(prompt string, ids []int64, encoded []Encoded) []Segment {
	segments := []Segment{{Text: prompt, IDs: ids}}
	for i, e := range encoded {
		segments = append(segments, Segment{Embeds: e.States, Media: i, Kind: e.Kind, Grid: e.Grid, Keys: e.Keys})
	}
	return segments
}

// expand replaces each placeholder by an item's markup.
func (p places) expand(prompt string, encoded []Encoded) string {
	var b strings.Builder
	for i, text := range strings.Split(prompt, p.placeholder) {
		if i > 0 {
			e := encoded[i-1]
			if p.markup != nil {
				b.WriteString(p.markup(p.token, e))
			} else {
				b.WriteString(strings.Repeat(p.token, e.States.Dim(1)))
			}
		}
		b.WriteString(text)
	}
	return b.String()
}

func (m *imageTokens) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	ids := textIDs(prompts)
	embeds, width, err := m.decoder.EmbedAll(ctx, m.embeddable(ids)...)
	if err != nil {
		return nil, err
	}
	start := decode.Start{Width: width, Apart: m.unpadded, First: m.kind.first}
	for i, p := range prompts {
		prompt := decode.Prompt{IDs: ids[i], Types: m.types(ids[i]), Beside: embeds[i].Beside}
		if m.kind.ahead { // transformers' ids are the text's alone: max_length and min_length count those
			prompt.IDs = ids[i][countID(ids[i], m.token):]
		}
		if prompt.Embeds, err = m.place(ids[i], embeds[i].Rows, width, p[1:]); err != nil {
			return nil, err
		}
		if m.kind.places {
			if prompt.Places, err = m.positions(ids[i], p[1:]); err != nil {
				return nil, err
			}
		}
		start.Prompts = append(start.Prompts, prompt)
	}
	return m.decoder.Begin(start)
}

// types returns 1 for each position that is a picture's row, 0 for those of text.
func (m *imageTokens) types(ids []int64) []int64 {
	types := make([]int64, len(ids))
	for i, id := range ids {
		if id == m.token {
			types[i] = 1
		}
	}
	return types
}

// place returns the embeddings of ids in pieces, with the items' rows in order in the places of their
// tokens.
func (m *imageTokens) place(
	ids []int64, embeds []float32, width int, items []Segment,
) (pieces [][]float32, err error) {
	var seen, heard []Segment
	for _, s := range items {
		if s.Kind == media.Sounds {
			heard = append(heard, s)
		} else {
			seen = append(seen, s)
		}
	}
	queues := map[int64]*rowQueue{m.token: {items: seen}}
	if m.hearing != nil {
		queues[m.hearing.token] = &rowQueue{items: heard}
	}
	from := 0
	for at, id := range ids {
		queue := queues[id]
		if queue == nil {
			continue
		}
		row, err := queue.next(width)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, embeds[from*width:at*width], row)
		from = at + 1
	}
	return append(pieces, embeds[from*width:]), nil
}

// rowQueue hands out the rows of items in order.
type rowQueue struct {
	rows  []float32 // of the item that was begun
	items []Segment // that come next
}

// next returns the next row. There are as many as places: Compose sees to it.
func (q *rowQueue) next(width int) (row []float32, err error) {
	for len(q.rows) == 0 && len(q.items) > 0 {
		if wide := q.items[0].Embeds.Dim(2); wide != width {
			return nil, fmt.Errorf("%w: a picture's or sound's features are %d wide, the text's "+
				"embeddings %d", graph.ErrBundle, wide, width)
		}
		if q.rows, err = tensor.Values[float32](q.items[0].Embeds); err != nil {
			return nil, err
		}
		q.items = q.items[1:]
	}
	row, q.rows = q.rows[:width], q.rows[width:]
	return row, nil
}

// embeddable returns ids that the graph of embeddings takes. That of some packages sets pictures' rows
// itself, in the places of their token, and has none of them here; the places' embeddings are not used.
func (m *imageTokens) embeddable(ids [][]int64) [][]int64 {
	if m.token != noToken && !m.decoder.EmbedsMedia() {
		return ids
	}
	plain := make([][]int64, len(ids))
	for i, row := range ids {
		plain[i] = slices.Clone(row)
		for j, id := range row {
			if id == m.token {
				plain[i][j] = 0
			}
		}
	}
	return plain
}
