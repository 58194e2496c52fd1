package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyward/keyward/db/embedded"
)

// replicas puts several processes behind one address, revokes keys through it
// under load, and says how long it takes until none of them serves the key.
func replicas(ctx context.Context, s *site) error {
	pg, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(s.dir, "postgres")})
	if err != nil {
		return err
	}
	defer func() { _ = pg.Stop(context.WithoutCancel(ctx)) }()
	f, err := s.serve(ctx, pg.DSN())
	if err != nil {
		return err
	}
	front, err := s.haproxy(ctx, f)
	if err != nil {
		return err
	}
	behind := &fleet{urls: []string{front}, key: f.key, http: f.http}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	l, wait := behind.load(loading, s.tenants)
	var gone []time.Duration
	for time.Since(began) < s.before && ctx.Err() == nil {
		took, err := f.revokeEverywhere(ctx, front, slug(len(gone)%s.tenants))
		if err != nil {
			return err
		}
		gone = append(gone, took)
	}
	stop()
	wait()
	slices.Sort(gone)
	fmt.Printf("%d tenants, %d replicas behind HAProxy, %.0f s of load\n", s.tenants, s.replicas, s.before.Seconds())
	fmt.Printf("revoked keys: %d; from the answer until no replica serves it: p50 %v, p99 %v, longest %v\n", len(gone), at(gone, 0.5), at(gone, 0.99), at(gone, 1))
	fmt.Println("tokens:     ", summary(l.tokens, began))
	fmt.Println("JWKS:       ", summary(l.sets, began))
	fmt.Println("revocations:", summary(l.revocations, began))
	if err := f.check(ctx, s.tenants, l.revoked); err != nil {
		return err
	}
	fmt.Printf("all %d revocations of the load are there too, all %d histories are intact\n", len(l.revoked), s.tenants)
	return nil
}

// revokeEverywhere revokes a key through the one address and asks every process
// until it is gone.
func (f *fleet) revokeEverywhere(ctx context.Context, front, tenant string) (time.Duration, error) {
	for i := range f.urls { // into every memory
		if _, err := f.jwks(ctx, i, tenant); err != nil {
			return 0, err
		}
	}
	text, err := f.ask(ctx, "GET", front+"/v1/tenants/"+tenant+"/keys?state=standby&limit=1", "")
	if err != nil {
		return 0, err
	}
	kid := active(string(text)) // nobody else revokes a standby
	if _, err := f.ask(ctx, "POST", front+"/v1/tenants/"+tenant+"/keys/"+kid+"/revoke", `{"reason":"compromised"}`); err != nil {
		if strings.Contains(err.Error(), "409") { // it has become the active one, and was revoked
			return f.revokeEverywhere(ctx, front, tenant)
		}
		return 0, err
	}
	began := time.Now()
	for i := range f.urls {
		for {
			set, err := f.jwks(ctx, i, tenant)
			if err != nil {
				return 0, err
			}
			if !strings.Contains(set, kid) {
				break
			}
		}
	}
	return time.Since(began), nil
}

func (s *site) haproxy(ctx context.Context, f *fleet) (url string, err error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	var servers strings.Builder
	for i, url := range f.urls {
		fmt.Fprintf(&servers, "  server k%d %s check inter 1s\n", i, strings.TrimPrefix(url, "http://"))
	}
	config, err := s.write("haproxy.cfg", fmt.Sprintf(`global
  maxconn 1000
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  option redispatch
frontend public
  bind 127.0.0.1:%d
  default_backend keyward
backend keyward
  balance roundrobin
  option httpchk GET /readyz/public
%s`, port, servers.String()))
	if err != nil {
		return "", err
	}
	if _, err := s.start("haproxy", nil, nil, "haproxy", "-db", "-f", config); err != nil {
		return "", err
	}
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	return url, until(ctx, time.Minute, func() error { _, err := f.ask(ctx, "GET", url+"/readyz", ""); return err })
}
