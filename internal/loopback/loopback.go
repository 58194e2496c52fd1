// Package loopback tells the hosts that are this machine, to which plain http is safe. It is
// internal to Keyward: no compatibility promise.
package loopback

import "net/netip"

// IsHost reports whether a host, without port and brackets, is localhost or a loopback
// address. It looks no name up, since whoever answers could lie.
func IsHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
