// Package sse reads streams of server-sent events (WHATWG HTML section 9.2.6)
// in bounded memory and in time that is linear in the stream's length.
// It is internal to Keyward: no compatibility promise.
package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// ErrTooLong means that a line or an event exceeds the reader's bound. The
// reader cannot go on after it.
var ErrTooLong = errors.New("an event of the stream is too long")

// Event is the part of a stream that a blank line ends. Without a data field,
// Data is nil: such an event says nothing, but may have moved the position.
type Event struct {
	Name string
	Data []byte
}

// Reader reads one stream. It is not safe for concurrent use.
type Reader struct {
	// ID is the id of the last complete event: the position to resume from.
	ID string
	// Retry is the reconnection time that the server asked for; 0 if it did not.
	Retry time.Duration
	// Comment is the last comment, "" as soon as a field follows it.
	Comment string

	in     *bufio.Reader
	max    int    // bytes of a line, and of an event's data
	line   []byte // reused for each line
	begun  bool   // the first line has been read
	skipLF bool   // the last line ended with CR, to which a LF may belong
	nextID string // the id of the event that is being read
}

// NewReader returns a reader of stream that resumes after the event with the id
// last. max bounds a line, and the data of an event, in bytes.
func NewReader(stream io.Reader, last string, max int) *Reader {
	return &Reader{ID: last, nextID: last, in: bufio.NewReader(stream), max: max}
}

// Read returns the next event. Its error is [io.EOF] at the end of the stream,
// [ErrTooLong], or that of the stream; an event that the end cuts off is dropped.
func (r *Reader) Read() (Event, error) {
	var event Event
	for {
		line, err := r.readLine()
		if err != nil {
			return Event{}, err
		}
		if len(line) == 0 {
			r.ID = r.nextID
			return event, nil
		}
		if err := r.addField(&event, line); err != nil {
			return Event{}, err
		}
	}
}

// readLine returns a line without its end: CR, LF or CR LF. A line is returned
// at its CR, because the LF that may follow can arrive much later.
func (r *Reader) readLine() ([]byte, error) {
	r.line = r.line[:0]
	for {
		chunk, err := r.in.Peek(max(r.in.Buffered(), 1)) // what has arrived, without waiting for more
		if len(chunk) == 0 {
			return nil, err
		}
		if r.skipLF && chunk[0] == '\n' {
			r.skipLF = false
			_, _ = r.in.Discard(1)
			continue
		}
		r.skipLF = false
		end := bytes.IndexAny(chunk, "\r\n")
		part := chunk
		if end >= 0 {
			part = chunk[:end]
		}
		if len(r.line)+len(part) > r.max {
			return nil, ErrTooLong
		}
		r.line = append(r.line, part...)
		if end < 0 {
			_, _ = r.in.Discard(len(chunk))
			continue
		}
		r.skipLF = chunk[end] == '\r'
		_, _ = r.in.Discard(end + 1)
		break
	}
	line := r.line
	if !r.begun {
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
		r.begun = true
	}
	return line, nil
}

// addField adds the field in line to event. A field without a name is a comment;
// unknown fields are ignored, as section 9.2.6 wants.
func (r *Reader) addField(event *Event, line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	r.Comment = ""
	switch string(name) {
	case "":
		r.Comment = strings.TrimSpace(string(value))
	case "event":
		event.Name = string(value)
	case "data":
		if len(event.Data)+len(value) >= r.max {
			return ErrTooLong
		}
		if event.Data == nil {
			event.Data = []byte{}
		} else {
			event.Data = append(event.Data, '\n')
		}
		event.Data = append(event.Data, value...)
	case "id":
		if IsSendable(string(value)) {
			r.nextID = string(value)
		}
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			r.Retry = time.Duration(ms) * time.Millisecond
		}
	}
	return nil
}

// IsSendable reports whether an id can be sent back in the header Last-Event-ID.
// Other ids are ignored, which only repeats some events after a reconnection.
func IsSendable(id string) bool {
	return len(id) <= 256 && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}
