package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// maxDepth bounds how deep JSON of strangers may nest.
const maxDepth = 32

var (
	errJSON  = errors.New("is not valid JSON")
	errUTF8  = errors.New("is not valid UTF-8")
	errDepth = fmt.Errorf("nests deeper than %d levels", maxDepth)
	errName  = errors.New("names a member twice")
)

// strict says what is wrong with a JSON value: that two members of an object
// share a name, at any depth, is as wrong as bad syntax. RFC 7519 section 4
// lets a parser take the last of them; two parsers that differ there can be
// played against each other.
func strict(raw []byte) error {
	if !utf8.Valid(raw) {
		return errUTF8
	}
	if !json.Valid(raw) {
		return errJSON
	}
	w := walker{raw: raw}
	return w.value(0, nil)
}

// ParseObject returns the members of a JSON object that is [strict].
func ParseObject(raw []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, errUTF8
	}
	if !json.Valid(raw) {
		return nil, errJSON
	}
	w := walker{raw: raw}
	if w.peek() != '{' {
		return nil, errors.New("is not a JSON object")
	}
	members := map[string]json.RawMessage{}
	return members, w.value(0, members)
}

// walker goes through JSON that is known to be valid.
type walker struct {
	raw []byte
	at  int
}

// value passes one value; the members of an object go into members, if given.
func (w *walker) value(depth int, members map[string]json.RawMessage) error {
	if depth > maxDepth {
		return errDepth
	}
	switch w.peek() {
	case '{':
		return w.object(depth, members)
	case '[':
		return w.array(depth)
	case '"':
		w.text()
		return nil
	}
	for w.at < len(w.raw) && !delimiter(w.raw[w.at]) { // number, true, false, null
		w.at++
	}
	return nil
}

func (w *walker) object(depth int, members map[string]json.RawMessage) error {
	var seen names
	for w.at++; w.peek() != '}'; {
		name, err := meant(w.text())
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return errName
		}
		w.peek()
		w.at++ // the colon
		w.peek()
		start := w.at
		if err := w.value(depth+1, nil); err != nil {
			return err
		}
		if members != nil {
			members[name] = w.raw[start:w.at:w.at]
		}
		w.comma()
	}
	w.at++
	return nil
}

// names are those of one object: few are looked through, many looked up.
type names struct {
	few  [12]string
	n    int
	many map[string]struct{}
}

// add says whether the name is new.
func (s *names) add(name string) bool {
	if s.many == nil && s.n < len(s.few) {
		if slices.Contains(s.few[:s.n], name) {
			return false
		}
		s.few[s.n] = name
		s.n++
		return true
	}
	if s.many == nil {
		s.many = make(map[string]struct{}, 4*len(s.few))
		for _, known := range s.few {
			s.many[known] = struct{}{}
		}
	}
	_, twice := s.many[name]
	s.many[name] = struct{}{}
	return !twice
}

// meant is what a string of valid JSON means.
func meant(quoted []byte) (s string, err error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	if json.Unmarshal(quoted, &s) != nil {
		return "", errJSON
	}
	return s, nil
}

func (w *walker) array(depth int) error {
	for w.at++; w.peek() != ']'; {
		if err := w.value(depth+1, nil); err != nil {
			return err
		}
		w.comma()
	}
	w.at++
	return nil
}

// text passes a string and returns it with its quotes.
func (w *walker) text() []byte {
	start := w.at
	for w.at++; w.raw[w.at] != '"'; w.at++ {
		if w.raw[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.raw[start:w.at]
}

func (w *walker) comma() {
	if w.peek() == ',' {
		w.at++
	}
}

// peek skips white space and returns the byte it stops at.
func (w *walker) peek() byte {
	for space(w.raw[w.at]) {
		w.at++
	}
	return w.raw[w.at]
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func delimiter(c byte) bool { return space(c) || c == ',' || c == ']' || c == '}' }
