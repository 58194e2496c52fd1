package httpapi

import "strings"

// forwardedFor are the last hops that Forwarded names (RFC 7239 section 4):
// the for parameter of each element, "" where it has none. One line that is
// not well formed makes all of them worthless: a client may have opened a
// quote for what its proxy appends.
func forwardedFor(lines []string) []string {
	var hops []string
	for _, line := range lines {
		for rest, more := line, true; more; {
			var hop string
			var ok bool
			if hop, rest, more, ok = forwardedElement(rest); !ok {
				return nil
			}
			hops = lastHops(append(hops, hop))
		}
	}
	return hops
}

// forwardedElement reads the pairs up to the next comma.
func forwardedElement(text string) (hop, rest string, more, ok bool) {
	for {
		var name, value string
		if name, value, text, ok = forwardedPair(strings.TrimLeft(text, " \t")); !ok {
			return "", "", false, false
		}
		if strings.EqualFold(name, "for") {
			hop = value
		}
		switch text = strings.TrimLeft(text, " \t"); {
		case text == "":
			return hop, "", false, true
		case text[0] == ',':
			return hop, text[1:], true, true
		case text[0] != ';':
			return "", "", false, false
		}
		text = text[1:]
	}
}

// forwardedPair reads name=value; the value is a token or a quoted string. A
// token may be an address with a port, which only a quoted string should be:
// there are proxies that write it so.
func forwardedPair(text string) (name, value, rest string, ok bool) {
	name, text, ok = strings.Cut(text, "=")
	if !ok || name == "" || strings.ContainsAny(name, " \t,;\"") {
		return "", "", "", false
	}
	if strings.HasPrefix(text, `"`) {
		value, rest, ok = strings.Cut(text[1:], `"`)
		return name, value, rest, ok && !strings.Contains(value, `\`) // no address needs one
	}
	end := strings.IndexAny(text, " \t,;")
	if end < 0 {
		end = len(text)
	}
	value = text[:end]
	return name, value, text[end:], value != "" && !strings.Contains(value, `"`)
}
