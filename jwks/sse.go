package jwks

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxEvent is how long an event, or a line of one, may be.
const maxEvent = 256 << 10

// An event is what a blank line of an event stream ends (WHATWG HTML section
// 9.2.6). One without data is none, but may have moved the position.
type event struct {
	name string
	data []byte
}

// events reads an event stream, in bounded memory.
type events struct {
	lines *bufio.Scanner
	cr    bool          // the last line ended with a carriage return
	begun bool          // there was a last line
	id    string        // of the last event, or of the stream's beginning
	next  string        // the id of the event that is being read
	retry time.Duration // as last asked for; 0 if it was not
}

// newEvents goes on behind the event with the id last.
func newEvents(stream io.Reader, last string) *events {
	e := &events{lines: bufio.NewScanner(stream), id: last, next: last}
	e.lines.Buffer(make([]byte, 0, 4<<10), maxEvent)
	e.lines.Split(e.line)
	return e
}

// read reads to the end of an event. One that the stream's end cuts off is none.
func (e *events) read() (event, error) {
	var got event
	for e.lines.Scan() {
		line := e.lines.Bytes()
		if !e.begun {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
			e.begun = true
		}
		if len(line) == 0 {
			e.id = e.next
			return got, nil
		}
		if err := e.field(&got, line); err != nil {
			return event{}, err
		}
	}
	switch err := e.lines.Err(); err {
	case nil:
		return event{}, io.EOF
	case bufio.ErrTooLong:
		return event{}, errTooLong
	default:
		return event{}, err
	}
}

// field takes a line in. Comments are fields without a name, and unknown fields
// are ignored, as in section 9.2.6.
func (e *events) field(got *event, line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "event":
		got.name = string(value)
	case "data":
		if len(got.data)+len(value) >= maxEvent {
			return errTooLong
		}
		if got.data == nil {
			got.data = []byte{}
		} else {
			got.data = append(got.data, '\n')
		}
		got.data = append(got.data, value...)
	case "id":
		if sendable(value) {
			e.next = string(value)
		}
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			e.retry = time.Duration(ms) * time.Millisecond
		}
	}
	return nil
}

// sendable says whether an id can be given back in a header. What cannot is
// ignored, which costs no more than to hear some events again.
func sendable(id []byte) bool {
	return len(id) <= 256 && !strings.ContainsFunc(string(id), func(r rune) bool { return r <= ' ' || r > '~' })
}

// line is a [bufio.SplitFunc] for lines that end with CR, LF or CR LF. A line
// ends with its CR: whether a LF follows may be heard much later.
func (e *events) line(data []byte, atEOF bool) (advance int, token []byte, err error) {
	start := 0
	if e.cr && len(data) > 0 {
		if e.cr = false; data[0] == '\n' {
			start = 1
		}
	}
	end := bytes.IndexAny(data[start:], "\r\n")
	switch {
	case end >= 0:
		end += start
		e.cr = data[end] == '\r'
		return end + 1, data[start:end], nil
	case atEOF:
		return len(data), nil, nil
	}
	return start, nil, nil
}
