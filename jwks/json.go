package jwks

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep the JSON of strangers may nest.
const maxDepth = 32

// eachMember goes through a JSON object and gives take each member with its
// value as it is written. It is false if the text is not exactly one object of
// valid JSON in UTF-8, nests too deep, or names a member twice, at any depth:
// RFC 7519 section 4 lets parsers take the last of them, and two that differ
// there can be played against each other.
func eachMember(text string, take func(name, value string)) bool {
	p := scanner{text: text}
	p.space()
	return utf8.ValidString(text) && p.object(0, take) && p.at == len(text)
}

// scanner reads JSON (RFC 8259) once, from left to right, and nothing twice.
// Its methods are false at the first fault. They leave it after the white space
// that follows what they read, and note where that began.
type scanner struct {
	text string
	at   int
	end  int
}

// next is the byte to be read; 0, which is no JSON, at the end.
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
		return p.array(depth)
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
		name, ok := unquote(p.text[start:p.end])
		if !ok || !names.add(name) || !p.symbol(':') {
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

func (p *scanner) array(depth int) bool {
	if !p.symbol('[') {
		return false
	}
	if p.symbol(']') {
		return true
	}
	for {
		if !p.value(depth + 1) {
			return false
		}
		if !p.symbol(',') {
			return p.symbol(']')
		}
	}
}

// str reads a string (RFC 8259 section 7).
func (p *scanner) str() bool {
	if p.next() != '"' {
		return false
	}
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			p.space()
			return true
		case c < ' ':
			return false
		case c == '\\':
			if p.at++; !p.escape() {
				return false
			}
		}
	}
	return false
}

// escape reads what follows a backslash, but for its last byte.
func (p *scanner) escape() bool {
	if p.next() != 'u' {
		return p.at < len(p.text) && strings.IndexByte(`"\/bfnrt`, p.text[p.at]) >= 0
	}
	if p.at+4 >= len(p.text) {
		return false
	}
	for range 4 {
		p.at++
		if strings.IndexByte("0123456789abcdefABCDEF", p.text[p.at]) < 0 {
			return false
		}
	}
	return true
}

// number reads a number (RFC 8259 section 6).
func (p *scanner) number() bool {
	if p.next() == '-' {
		p.at++
	}
	if p.next() == '0' {
		p.at++
	} else if !p.digits() {
		return false
	}
	if p.next() == '.' {
		p.at++
		if !p.digits() {
			return false
		}
	}
	if c := p.next(); c == 'e' || c == 'E' {
		p.at++
		if c := p.next(); c == '+' || c == '-' {
			p.at++
		}
		if !p.digits() {
			return false
		}
	}
	p.space()
	return true
}

func (p *scanner) digits() bool {
	start := p.at
	for c := p.next(); '0' <= c && c <= '9'; c = p.next() {
		p.at++
	}
	return p.at > start
}

func (p *scanner) word(w string) bool {
	if !strings.HasPrefix(p.text[p.at:], w) {
		return false
	}
	p.at += len(w)
	p.space()
	return true
}

// names are those of an object so far. Most objects are small; large ones must
// not take time that grows with the square of their size.
type names struct {
	few  [12]string
	n    int
	many map[string]bool
}

// add is false if the name is there already.
func (n *names) add(name string) bool {
	if n.many == nil && n.n < len(n.few) {
		for _, other := range n.few[:n.n] {
			if other == name {
				return false
			}
		}
		n.few[n.n] = name
		n.n++
		return true
	}
	if n.many == nil {
		n.many = map[string]bool{}
		for _, other := range n.few {
			n.many[other] = true
		}
	}
	before := len(n.many)
	n.many[name] = true
	return len(n.many) > before
}

// unquote is the string that JSON writes like this; false if it is none.
func unquote(quoted string) (string, bool) {
	if len(quoted) < 2 || quoted[0] != '"' {
		return "", false
	}
	if strings.IndexByte(quoted, '\\') >= 0 {
		return unescape(quoted)
	}
	return quoted[1 : len(quoted)-1], true
}

// unescape is apart from unquote because it allocates.
func unescape(quoted string) (s string, ok bool) {
	err := json.Unmarshal([]byte(quoted), &s)
	return s, err == nil
}
