package tenant

import (
	"context"
	"net"
)

// TXTResolver returns a function for Config.LookupTXT that asks the name server at a
// host:port, or those of the system if it is "".
func TXTResolver(server string) func(ctx context.Context, name string) ([]string, error) {
	r := &net.Resolver{PreferGo: true}
	if server != "" {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		}
	}
	return r.LookupTXT
}
