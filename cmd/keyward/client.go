package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// remote is how a command reaches the admin API.
type remote struct {
	URL       string `name:"url" var:"KEYWARD_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"Where Keyward is. Default: ${default}."`
	APIKey    string `name:"api-key" var:"KEYWARD_API_KEY" placeholder:"KEY" help:"The credential; better in the environment, where other users do not see it."`
	AllowHTTP bool   `name:"allow-http" help:"Send credential and keys over http to another machine, for whoever is between to read."`
	Tenant    string `name:"tenant" required:"" placeholder:"SLUG" help:"Slug or id of the tenant."`
	JSON      bool   `name:"json" help:"Print JSON."`
}

// Limits of a request to the admin API.
const (
	answerTime = 30 * time.Second
	maxAnswer  = 16 << 20
	maxTries   = 4
)

// adminClient speaks the admin API for one tenant.
type adminClient struct {
	base, key, tenant string
	http              *http.Client
	pause             func(context.Context, time.Duration) error
}

// open checks how Keyward is to be reached. Redirects are not followed: they
// would take the credential along.
func (r remote) open() (*adminClient, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, badValue("KEYWARD_URL", "an absolute http or https URL")
	}
	host := u.Hostname()
	if loopback := host == "localhost" || net.ParseIP(host).IsLoopback(); u.Scheme == "http" && !loopback && !r.AllowHTTP {
		return nil, badValue("KEYWARD_URL", "https, or on this machine: keys and the credential would travel in the clear (--allow-http lets them)")
	}
	if r.APIKey == "" {
		return nil, badValue("KEYWARD_API_KEY", "set, to an API key that may administer the tenant; keyward api-key create makes one")
	}
	return &adminClient{
		base: strings.TrimSuffix(r.URL, "/"), key: r.APIKey, tenant: r.Tenant, pause: pause,
		http: &http.Client{Timeout: answerTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// do asks until there is an answer that stays. once makes a POST safe to send
// again; it is empty for a GET.
func (c *adminClient) do(ctx context.Context, method, path, once string, body, into any) error {
	text := []byte(nil)
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
		defer clear(text)
	}
	for try := 1; ; try++ {
		wait, err := c.try(ctx, method, path, once, text, into)
		var p *problem
		again := errors.As(err, &p) && p.passing() || isNet(err)
		if err == nil || !again || try == maxTries || ctx.Err() != nil {
			return err
		}
		if err := c.pause(ctx, max(wait, time.Duration(try*try)*250*time.Millisecond)); err != nil {
			return err
		}
	}
}

func isNet(err error) bool {
	var e *url.Error
	return errors.As(err, &e)
}

// try asks once and says how long the answer wants one to wait.
func (c *adminClient) try(ctx context.Context, method, path, once string, body []byte, into any) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v1/tenants/"+url.PathEscape(c.tenant)+path, bytes.NewReader(body))
	if err != nil {
		return 0, badValue("KEYWARD_URL", "an absolute http or https URL")
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if once != "" {
		req.Header.Set("Idempotency-Key", once)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("no answer from the admin API: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("the answer of the admin API breaks off: %w", err)
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // 0: it does not say
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return min(time.Duration(seconds)*time.Second, answerTime), refusal(resp, answer)
	}
	if json.Unmarshal(answer, into) != nil {
		return 0, fmt.Errorf("%s does not answer as Keyward does", c.base)
	}
	return 0, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
