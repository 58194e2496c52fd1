package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// fleet is the processes that serve one database.
type fleet struct {
	urls []string
	key  string // of a platform_admin
	http *http.Client
}

// serve sets a database up and starts as many processes as were asked for.
func (s *site) serve(ctx context.Context, database string) (*fleet, error) {
	env := []string{"KEYWARD_DATABASE_URL=" + database, "KEYWARD_MASTER_KEY=file:" + s.dir + "/master.json", "KEYWARD_PUBLIC_URL=https://keys.example"}
	var said []byte
	for _, args := range [][]string{{"master", "init"}, {"migrate", "up"}, {"api-key", "create", "--role=platform_admin", "--name=fleet"}} {
		cmd := exec.CommandContext(ctx, s.keyward, args...)
		cmd.Env = append(os.Environ(), env...)
		var err error
		if said, err = cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("keyward %s: %w: %s", strings.Join(args, " "), err, said)
		}
	}
	f := &fleet{key: regexp.MustCompile(`kw_\w+`).FindString(string(said)), http: &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
	for i := range s.replicas {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if _, err := s.start(fmt.Sprintf("keyward-%d", i), nil, append(env, "KEYWARD_ADDR="+addr), s.keyward, "serve"); err != nil {
			return nil, err
		}
		f.urls = append(f.urls, "http://"+addr)
	}
	for _, url := range f.urls {
		if err := until(ctx, time.Minute, func() error { _, err := f.ask(ctx, "GET", url+"/readyz", ""); return err }); err != nil {
			return nil, err
		}
	}
	for i := range s.tenants {
		if _, err := f.ask(ctx, "POST", f.urls[0]+"/v1/tenants", `{"slug":"`+slug(i)+`"}`); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func slug(i int) string { return fmt.Sprintf("t%d", i) }

func (f *fleet) ask(ctx context.Context, method, url, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+f.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := f.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, url, res.Status, bytes.TrimSpace(text))
	}
	return text, nil
}

func (f *fleet) jwks(ctx context.Context, replica int, tenant string) (string, error) {
	set, err := f.ask(ctx, "GET", f.urls[replica]+"/t/"+tenant+"/.well-known/jwks.json", "")
	return string(set), err
}

// active is the kid that signs: the first of the JWKS.
func active(set string) string {
	_, rest, _ := strings.Cut(set, `"kid":"`)
	kid, _, _ := strings.Cut(rest, `"`)
	return kid
}

// check proves that every revocation that was acknowledged is there, and that
// every tenant's history is intact.
func (f *fleet) check(ctx context.Context, tenants int, revoked map[string]string) error {
	for kid, tenant := range revoked {
		text, err := f.ask(ctx, "GET", f.urls[0]+"/v1/tenants/"+tenant+"/keys/"+kid, "")
		var key struct{ State string }
		if err := errors.Join(err, json.Unmarshal(text, &key)); err != nil {
			return err
		}
		if key.State != "revoked" {
			return fmt.Errorf("the revocation of %s's key %s was acknowledged, and the key is %s", tenant, kid, key.State)
		}
		for i := range f.urls {
			if set, err := f.jwks(ctx, i, tenant); err != nil || strings.Contains(set, kid) {
				return fmt.Errorf("replica %d serves %s's revoked key %s: %w", i, tenant, kid, err)
			}
		}
	}
	for i := range tenants {
		text, err := f.ask(ctx, "GET", f.urls[0]+"/v1/tenants/"+slug(i)+"/audit/verify", "")
		var report struct{ Intact bool }
		if err := errors.Join(err, json.Unmarshal(text, &report)); err != nil || !report.Intact {
			return fmt.Errorf("the history of %s: %s, %w", slug(i), text, err)
		}
	}
	return nil
}

// until tries again and again.
func until(ctx context.Context, patience time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", ctx.Err(), err)
		}
	}
}
