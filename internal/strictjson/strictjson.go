// Package strictjson reads JSON that two parsers cannot understand differently:
// in UTF-8, without duplicate members at any depth, nested at most [MaxDepth]
// deep. Internal to Keyward: no compatibility promise.
//
// RFC 7519 section 4 lets a parser take the last of several members of one name.
// Two parsers that differ there would check one value and use another. The
// tokenizer is encoding/json/jsontext; this package adds the limit and the
// messages, and is the only place for both.
package strictjson

import (
	"bytes"
	"encoding/json"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"
)

// MaxDepth limits how deep arrays and objects nest, in levels.
const MaxDepth = 64

// The faults of a value, worded to follow the name of a field. None repeats any
// of the input.
var (
	ErrSyntax    = errors.New("is not valid JSON")
	ErrUTF8      = errors.New("is not valid UTF-8")
	ErrDepth     = fmt.Errorf("nests deeper than %d levels", MaxDepth)
	ErrDuplicate = errors.New("names a member twice")
	ErrNotObject = errors.New("is not a JSON object")
)

// unpaired lets a decoder pass unpaired surrogates, which claims may contain.
// Other invalid UTF-8 is refused before the decoder sees it.
var unpaired = jsontext.AllowInvalidUTF8(true)

// reader is a decoder and its input. Both are reused, since a new decoder costs
// fourteen allocations.
type reader struct {
	dec   jsontext.Decoder
	input bytes.Buffer
}

var readers = sync.Pool{New: func() any { return new(reader) }}

func (r *reader) open(raw []byte) *jsontext.Decoder {
	r.input = *bytes.NewBuffer(raw)
	r.dec.Reset(&r.input, unpaired)
	return &r.dec
}

// release forgets the input, which may be a private key, before the reader is
// reused.
func (r *reader) release() {
	r.open(nil)
	readers.Put(r)
}

// Check returns the fault of a JSON value, nil if there is none. Errors:
// [ErrUTF8], [ErrSyntax], [ErrDepth], [ErrDuplicate].
func Check(raw []byte) error {
	if !utf8.Valid(raw) {
		return ErrUTF8
	}
	r := readers.Get().(*reader)
	defer r.release()
	dec := r.open(raw)
	if err := skipMember(dec, isShallow(raw)); err != nil {
		return classify(err)
	}
	return checkEnd(dec)
}

// ParseObject returns the members of a JSON object; their values are parts of
// raw. Errors: those of [Check], and [ErrNotObject].
func ParseObject(raw []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, ErrUTF8
	}
	r := readers.Get().(*reader)
	defer r.release()
	dec := r.open(raw)
	if dec.PeekKind() != '{' {
		if err := Check(raw); err != nil {
			return nil, err
		}
		return nil, ErrNotObject
	}
	members, err := readMembers(dec, raw)
	if err != nil {
		return nil, classify(err)
	}
	return members, checkEnd(dec)
}

func readMembers(dec *jsontext.Decoder, raw []byte) (map[string]json.RawMessage, error) {
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	shallow := isShallow(raw)
	members := map[string]json.RawMessage{}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		start := dec.InputOffset()
		if err := skipMember(dec, shallow); err != nil {
			return nil, err
		}
		members[name] = trimValue(raw[start:dec.InputOffset()])
	}
	_, err := dec.ReadToken()
	return members, err
}

// isShallow reports whether a value has too few brackets to nest too deep. It
// spares most values a walk from token to token.
func isShallow(raw []byte) bool {
	return bytes.Count(raw, []byte("{"))+bytes.Count(raw, []byte("[")) <= MaxDepth
}

func skipMember(dec *jsontext.Decoder, shallow bool) error {
	if shallow {
		return dec.SkipValue()
	}
	return SkipValue(dec)
}

// SkipValue reads over one value. Unlike the decoder's own SkipValue it returns
// [ErrDepth] for a value that nests too deep.
func SkipValue(dec *jsontext.Decoder) error {
	for outside := dec.StackDepth(); ; {
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		switch depth := dec.StackDepth(); {
		case depth > MaxDepth:
			return ErrDepth
		case depth == outside:
			return nil
		}
	}
}

// ReadRaw reads one value of data, which dec reads, and returns its bytes, which
// are a part of data; nil if that fails.
func ReadRaw(dec *jsontext.Decoder, data []byte) []byte {
	start := dec.InputOffset()
	if SkipValue(dec) != nil {
		return nil
	}
	return trimValue(data[start:dec.InputOffset()])
}

// trimValue removes what separates a value from the token before it.
func trimValue(raw []byte) []byte {
	raw = bytes.TrimLeft(raw, " \t\r\n,:")
	return raw[:len(raw):len(raw)]
}

// AtEnd reports whether a decoder has read all its input.
func AtEnd(dec *jsontext.Decoder) bool {
	_, err := dec.ReadToken()
	return err == io.EOF
}

func checkEnd(dec *jsontext.Decoder) error {
	if !AtEnd(dec) {
		return ErrSyntax
	}
	return nil
}

// classify replaces a decoder's error, which may repeat input, by one of this
// package.
func classify(err error) error {
	switch {
	case errors.Is(err, ErrDepth):
		return ErrDepth
	case errors.Is(err, jsontext.ErrDuplicateName):
		return ErrDuplicate
	}
	return ErrSyntax
}
