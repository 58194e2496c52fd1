package jwks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxDepth limits how deep JSON nests. A token that Keyward signs has at most as
// many levels.
const maxDepth = 64

// eachMember calls take for each member of a JSON object, with its value as it is
// written. It returns false if the text is not exactly one object of valid JSON in
// UTF-8, nests too deep, or names a member twice, at any depth: RFC 7519 section 4
// lets parsers take the last of them, and two parsers that differ there could be
// played against each other.
func eachMember(text string, take func(name, value string)) bool {
	return scanObject(text, true, take)
}

// splitMembers is eachMember for documents of several parts, each of which is read
// by eachMember later: here names may repeat, so that one bad part does not spoil
// the others.
func splitMembers(text string, take func(name, value string)) bool {
	return scanObject(text, false, take)
}

func scanObject(text string, unique bool, take func(name, value string)) bool {
	p := scanner{text: text, unique: unique}
	p.space()
	return utf8.ValidString(text) && p.object(0, take) && p.at == len(text)
}

// eachElement calls take for each element of a JSON array. It returns false if
// the text is not an array.
func eachElement(text string, take func(value string)) bool {
	p := scanner{text: text}
	p.space()
	return p.array(0, take) && p.at == len(text)
}

// byteOrderMark may begin a document; RFC 8259 section 8.1 lets parsers ignore it.
const byteOrderMark = "\ufeff"

var errNotObject = errors.New("it is not a JSON object")

// parseMembers returns members of a document that are strings, by their exact
// names. Members that are null are taken for absent.
func parseMembers(text string, names ...string) (map[string]string, error) {
	found, err := map[string]string{}, error(nil)
	whole := splitMembers(strings.TrimPrefix(text, byteOrderMark), func(name, value string) {
		if !slices.Contains(names, name) || value == "null" {
			return
		}
		_, twice := found[name]
		text, isString := unquoteString(value)
		if found[name] = text; twice || !isString {
			err = fmt.Errorf("%s is not one string", name)
		}
	})
	if !whole {
		err = errNotObject
	}
	return found, err
}

// scanner reads JSON (RFC 8259) once, from left to right, no byte twice. Its
// methods return false at the first fault. Each leaves at after the white space
// that follows the value it has read, and end before it.
type scanner struct {
	text   string
	at     int
	end    int
	unique bool // names in an object may not repeat
}

// next returns the byte to be read; 0, which is no JSON, at the end.
func (p *scanner) next() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *scanner) space() {
	p.end = p.at
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// symbol reads one byte that has to be there.
func (p *scanner) symbol(c byte) bool {
	if p.next() != c {
		return false
	}
	p.at++
	p.space()
	return true
}

func (p *scanner) value(depth int) bool {
	switch c := p.next(); {
	case depth > maxDepth:
		return false
	case c == '{':
		return p.object(depth, nil)
	case c == '[':
		return p.array(depth, nil)
	case c == '"':
		return p.str()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	}
	return p.word("true") || p.word("false") || p.word("null")
}

func (p *scanner) object(depth int, take func(name, value string)) bool {
	if !p.symbol('{') {
		return false
	}
	if p.symbol('}') {
		return true
	}
	var names names
	for {
		start := p.at
		if !p.str() {
			return false
		}
		name, ok := unquoteString(p.text[start:p.end])
		if !ok || p.unique && !names.add(name) || !p.symbol(':') {
			return false
		}
		start = p.at
		if !p.value(depth + 1) {
			return false
		}
		if take != nil {
			take(name, p.text[start:p.end])
		}
		if !p.symbol(',') {
			return p.symbol('}')
		}
	}
}

func (p *scanner) array(depth int, take func(value string)) bool {
	if !p.symbol('[') {
		return false
	}
	if p.symbol(']') {
		return true
	}
	for {
		start := p.at
		if !p.value(depth + 1) {
			return false
		}
		if take != nil {
			take(p.text[start:p.end])
		}
		if !p.symbol(',') {
			return p.symbol(']')
		}
	}
}
