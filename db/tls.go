package db

import (
	"crypto/tls"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/internal/loopback"
)

// UnverifiedHosts returns the hosts of a database URL that are on other machines and to
// which a connection may be made without verifying their certificate and name, which
// every sslmode below verify-full allows. Errors: the URL is malformed.
func UnverifiedHosts(url string) (hosts []string, err error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	check := func(host string, t *tls.Config) {
		verified := t != nil && !t.InsecureSkipVerify
		if !verified && !isLocalHost(host) && (len(hosts) == 0 || hosts[len(hosts)-1] != host) {
			hosts = append(hosts, host)
		}
	}
	check(cfg.Host, cfg.TLSConfig)
	for _, f := range cfg.Fallbacks {
		check(f.Host, f.TLSConfig)
	}
	return hosts, nil
}

// isLocalHost reports whether a host is a socket's directory or a loopback address.
func isLocalHost(host string) bool {
	return host == "" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || loopback.IsHost(host)
}
