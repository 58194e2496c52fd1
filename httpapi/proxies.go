package httpapi

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

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

// maxHops bounds how far back a request is traced.
const maxHops = 32

// proxies tell who sends a request: for the log and for every limit that goes
// by address.
type proxies struct{ trusted []netip.Prefix }

// address is the client's, as a text: an IP address without a port, or what
// net/http calls a peer that has none.
func (p proxies) address(r *http.Request) string {
	addr, ok := p.find(r)
	if !ok {
		return r.RemoteAddr
	}
	return addr.String()
}

// network is what one client holds, so that all of it shares a limit: an IPv4
// address, or an IPv6 /64. Peers without an address share the zero network.
func (p proxies) network(r *http.Request) netip.Prefix {
	addr, ok := p.find(r)
	if !ok {
		return netip.Prefix{}
	}
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // never fails: the bits fit, the zone is gone
	return prefix
}

// find is the other end of the connection unless that is a trusted proxy. Then
// it is the last hop before the trusted ones, as they tell: what stands further
// to the left anybody may have written. A proxy that tells only one of the two
// headers lets a client send the other, so neither is believed where they
// differ.
func (p proxies) find(r *http.Request) (client netip.Addr, ok bool) {
	peer, ok := plainAddr(r.RemoteAddr)
	if !ok || !p.trusts(peer) {
		return peer, ok
	}
	older, newer := r.Header["X-Forwarded-For"], r.Header["Forwarded"]
	switch {
	case len(newer) == 0:
		return p.before(peer, listed(older)), true
	case len(older) == 0:
		return p.before(peer, forwardedFor(newer)), true
	}
	client = p.before(peer, listed(older))
	if client != p.before(peer, forwardedFor(newer)) {
		return peer, true
	}
	return client, true
}

func (p proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// before goes from peer back through hops, of which the last is the nearest,
// to the first that is not trusted. A hop that is no address ends the way at
// the proxy that told it.
func (p proxies) before(peer netip.Addr, hops []string) netip.Addr {
	for _, hop := range slices.Backward(hops) {
		addr, ok := plainAddr(hop)
		if !ok {
			return peer
		}
		if peer = addr; !p.trusts(addr) {
			return addr
		}
	}
	return peer
}

// listed are the last hops of X-Forwarded-For, whose lines are one list (RFC
// 9110 section 5.3).
func listed(lines []string) []string {
	var hops []string
	for _, line := range lines {
		for hop := range strings.SplitSeq(line, ",") {
			hops = lastHops(append(hops, strings.Trim(hop, " \t")))
		}
	}
	return hops
}

func lastHops(hops []string) []string { return hops[max(0, len(hops)-maxHops):] }

// plainAddr reads an address with or without a port, an IPv6 one also in
// brackets. IPv4 in IPv6 is IPv4; a zone says nothing to anybody else.
func plainAddr(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		var both netip.AddrPort
		if both, err = netip.ParseAddrPort(text); err != nil {
			return netip.Addr{}, false
		}
		addr = both.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

var errBadProxies = errors.New("not addresses and networks")

// ParseProxies reads the addresses and networks (RFC 4632 section 3.1) of
// trusted proxies, with commas between them. A network that everybody is in is
// refused: a client could then say anything of itself.
func ParseProxies(text string) ([]netip.Prefix, error) {
	if text == "" {
		return nil, nil
	}
	var networks []netip.Prefix
	for item := range strings.SplitSeq(text, ",") {
		network, err := parseNetwork(strings.TrimSpace(item))
		if err != nil || network.Bits() == 0 || network.Addr().Is4In6() {
			return nil, errBadProxies
		}
		networks = append(networks, network)
	}
	return networks, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		network, err := netip.ParsePrefix(text)
		return network.Masked(), err
	}
	addr, err := netip.ParseAddr(text)
	return netip.PrefixFrom(addr.WithZone(""), addr.BitLen()), err
}
