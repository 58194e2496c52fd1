package signin

import (
	"encoding/json"
	"strings"
)

// claims are those of a token, each as it came.
type claims map[string]json.RawMessage

// textValues are the values of a claim: the one text it is, or those of a list.
// Numbers and whatever else are no texts. scope is a list in one text (RFC
// 8693 section 4.2).
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

// at is the claim of that name, dots and all, or else what the path leads to
// through objects.
func (c claims) at(path string) json.RawMessage {
	if raw, ok := c[path]; ok {
		return raw
	}
	name, rest, more := strings.Cut(path, ".")
	if !more {
		return nil
	}
	var inner claims
	if json.Unmarshal(c[name], &inner) != nil {
		return nil
	}
	return inner.at(rest)
}

// firstText is the first of some claims that is a text and not empty.
func (c claims) firstText(names ...string) string {
	for _, name := range names {
		if texts := c.textValues(name); len(texts) == 1 && texts[0] != "" {
			return texts[0]
		}
	}
	return ""
}
