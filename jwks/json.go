package jwks

import (
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
