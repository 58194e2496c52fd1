package httpapi

import "strings"

// matches says whether an If-None-Match names the entity tag, which is strong.
// Tags are compared weakly (RFC 9110 section 13.1.2), since caches on the way
// may have made it a weak one; "*" matches whatever there is.
//
// If-Modified-Since is not looked at: a key can be revoked within the second
// in which another was published, and both states have the same Last-Modified.
func matches(lines []string, etag string) bool {
	for _, line := range lines {
		if strings.TrimSpace(line) == "*" {
			return true
		}
		for tag, rest := nextTag(line); tag != ""; tag, rest = nextTag(rest) {
			if tag == etag {
				return true
			}
		}
	}
	return false
}

// nextTag cuts the next entity tag off a list, without its W/ (RFC 9110
// section 8.8.3); commas inside quotes belong to a tag.
func nextTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, " \t,")
	list = strings.TrimPrefix(list, "W/")
	if !strings.HasPrefix(list, `"`) {
		return "", ""
	}
	end := strings.IndexByte(list[1:], '"')
	if end < 0 {
		return "", ""
	}
	return list[:end+2], list[end+2:]
}
