package httpapi

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwardedFor returns the last hops of Forwarded (RFC 7239 section 4): the for
// parameter of each element, "" if an element has none. A malformed line
// invalidates all of them, since a client may have opened a quote around the
// text that its proxy appends.
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

// forwardedElement parses the pairs up to the next comma.
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

// forwardedPair parses name=value; the value is a token or a quoted string. A
// token may be an address with a port, which should be quoted, because some
// proxies send it that way.
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

// proxies determines the address of a client behind trusted proxies, for the
// log and for the limits by address.
type proxies struct{ trusted []netip.Prefix }

// clientText returns the client's IP address without port, or net/http's name
// for a peer that has no address.
func (p proxies) clientText(r *http.Request) string {
	addr, ok := p.clientAddr(r)
	if !ok {
		return r.RemoteAddr
	}
	return addr.String()
}

// clientNetwork returns the network that shares one limit: an IPv4 address, or
// an IPv6 /64. Peers without an address share the zero prefix.
func (p proxies) clientNetwork(r *http.Request) netip.Prefix {
	addr, ok := p.clientAddr(r)
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

// clientAddr returns the peer's address unless the peer is a trusted proxy.
// Then it returns the last hop before the trusted ones; hops further to the
// left may be forged. A proxy that sets only one of the two headers lets a
// client forge the other one, so if the two differ both are ignored.
func (p proxies) clientAddr(r *http.Request) (client netip.Addr, ok bool) {
	peer, ok := plainAddr(r.RemoteAddr)
	if !ok || !p.trusts(peer) {
		return peer, ok
	}
	older, newer := r.Header["X-Forwarded-For"], r.Header["Forwarded"]
	switch {
	case len(newer) == 0:
		return p.lastUntrusted(peer, xForwardedFor(older)), true
	case len(older) == 0:
		return p.lastUntrusted(peer, forwardedFor(newer)), true
	}
	client = p.lastUntrusted(peer, xForwardedFor(older))
	if client != p.lastUntrusted(peer, forwardedFor(newer)) {
		return peer, true
	}
	return client, true
}

func (p proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// lastUntrusted walks back from peer through hops, of which the last is the
// nearest, to the first address that is not trusted. A malformed hop ends the
// walk at the proxy that reported it.
func (p proxies) lastUntrusted(peer netip.Addr, hops []string) netip.Addr {
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

// xForwardedFor returns the last hops of X-Forwarded-For, whose lines form one
// list (RFC 9110 section 5.3).
func xForwardedFor(lines []string) []string {
	var hops []string
	for _, line := range lines {
		for hop := range strings.SplitSeq(line, ",") {
			hops = lastHops(append(hops, strings.Trim(hop, " \t")))
		}
	}
	return hops
}

func lastHops(hops []string) []string { return hops[max(0, len(hops)-maxHops):] }

// plainAddr parses an address with or without a port; an IPv6 address may be in
// brackets. IPv4-mapped addresses become IPv4; a zone is dropped, since it has
// a meaning only on the sending host.
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

// ParseProxies parses a comma-separated list of addresses and networks (RFC
// 4632 section 3.1) of trusted proxies. It refuses a network that contains
// every address, since any client could then forge its own.
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
