package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// stalled is how long a client may leave a stream unread.
const stalled = 30 * time.Second

// Stream writes an answer piece by piece. A write fails once the client is gone or has read nothing for
// a while; whoever writes stops then.
type Stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	lines   bool // NDJSON, not server-sent events
}

// Events begins a stream of server-sent events.
func Events(w http.ResponseWriter) *Stream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold them back
	return &Stream{w: w, control: http.NewResponseController(w)}
}

// Lines begins a stream of JSON values, one a line.
func Lines(w http.ResponseWriter) *Stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Accel-Buffering", "no")
	return &Stream{w: w, control: http.NewResponseController(w), lines: true}
}

// Send writes a value as JSON: a line, or an event, with a name where name is not "".
func (s *Stream) Send(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.Raw(name, data)
}

// Raw is Send for data without an end of line, such as the [DONE] of OpenAI's streams.
func (s *Stream) Raw(name string, data []byte) error {
	var b bytes.Buffer
	if s.lines {
		b.Write(data)
		b.WriteByte('\n')
	} else {
		if name != "" {
			b.WriteString("event: " + name + "\n")
		}
		b.WriteString("data: ")
		b.Write(data)
		b.WriteString("\n\n")
	}
	s.control.SetWriteDeadline(time.Now().Add(stalled))
	if _, err := s.w.Write(b.Bytes()); err != nil {
		return err
	}
	return s.control.Flush()
}
