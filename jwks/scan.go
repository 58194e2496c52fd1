package jwks

import (
	"encoding/json"
	"strings"
)

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

// escape reads an escape sequence after its backslash, except for the last byte.
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

// names holds the names of an object so far. Most objects are small; large ones must
// not take time that grows with the square of their size.
type names struct {
	few  [12]string
	n    int
	many map[string]bool
}

// add returns false if the name is there already.
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

// unquoteString returns the string that a JSON value is; false if it is none.
func unquoteString(quoted string) (string, bool) {
	if len(quoted) < 2 || quoted[0] != '"' {
		return "", false
	}
	if strings.IndexByte(quoted, '\\') >= 0 {
		return unescapeString(quoted)
	}
	return quoted[1 : len(quoted)-1], true
}

// unescapeString is apart from unquoteString because it allocates.
func unescapeString(quoted string) (s string, ok bool) {
	err := json.Unmarshal([]byte(quoted), &s)
	return s, err == nil
}
