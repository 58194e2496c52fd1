package httpapi

import (
	"encoding/json"
	"strconv"
	"unicode"
	"unicode/utf16"
)

// deepest counts brackets outside strings; it needs no valid JSON.
func deepest(data []byte) int {
	depth, most, quoted := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			depth++
			most = max(most, depth)
		case b == '}' || b == ']':
			depth--
		}
	}
	return most
}

// text reads a string and returns what it means.
func (c *checker) text(path string) (string, error) {
	start, escaped := c.pos, false
	for c.pos++; c.data[c.pos] != '"'; c.pos++ {
		if c.data[c.pos] == '\\' {
			escaped = true
			c.pos++
		}
	}
	c.pos++
	raw := c.data[start:c.pos]
	if !escaped {
		return string(raw[1 : len(raw)-1]), nil
	}
	if !c.lax && unpaired(raw) {
		return "", invalid(path, "must not have an unpaired surrogate")
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// unpaired finds half a character, which encoding/json would replace.
func unpaired(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		r := escape(raw[i-1:])
		i += 4
		if !utf16.IsSurrogate(r) {
			continue
		}
		if utf16.DecodeRune(r, escape(raw[i+1:])) == unicode.ReplacementChar {
			return true
		}
		i += 6
	}
	return false
}

// escape is the code of a \uXXXX at the beginning of raw, else 0.
func escape(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0
	}
	r, _ := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(r)
}
