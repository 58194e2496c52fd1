package signin

import (
	"encoding/json"
	"strings"
)

// claims are the undecoded claims of a token.
type claims map[string]json.RawMessage

// textValues returns a string claim, or the strings of a list; other types are
// ignored. scope is a space-separated list (RFC 8693 section 4.2).
func (c claims) textValues(path string) []string {
	raw := c.at(path)
	var one string
	if json.Unmarshal(raw, &one) == nil && len(raw) > 0 && raw[0] == '"' {
		if path == "scope" {
			return strings.Fields(one)
		}
		return []string{one}
	}
	var list []any
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var texts []string
	for _, v := range list {
		if text, ok := v.(string); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// at returns the claim with the full name path, else the member at that path of
// nested objects. Names may have dots, as kubernetes.io has: the longest that is an
// object is descended into.
func (c claims) at(path string) json.RawMessage {
	if raw, ok := c[path]; ok {
		return raw
	}
	for end := strings.LastIndexByte(path, '.'); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		var inner claims
		if raw, ok := c[path[:end]]; ok && json.Unmarshal(raw, &inner) == nil && inner != nil {
			return inner.at(path[end+1:])
		}
	}
	return nil
}

// firstText returns the first of the claims that is a non-empty string.
func (c claims) firstText(names ...string) string {
	for _, name := range names {
		if texts := c.textValues(name); len(texts) == 1 && texts[0] != "" {
			return texts[0]
		}
	}
	return ""
}
