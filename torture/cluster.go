package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	replicaCount = 3
	workerCount  = 2
	publicURL    = "https://keys.example"
)

// prepare builds or finds the program, starts PostgreSQL, and makes the schema,
// the master key and the campaign's credential.
func (c *campaign) prepare(ctx context.Context) (err error) {
	source, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	c.program = c.options.program
	if c.program == "" {
		if _, err := os.Stat(filepath.Join(source, "cmd", "keyward")); err != nil {
			return errors.New("run it in the directory torture of Keyward's source, or give -keyward")
		}
		if c.program, err = build(ctx, source, c.dir); err != nil {
			return err
		}
	}
	if c.program, err = filepath.Abs(c.program); err != nil {
		return err
	}
	if c.clockMoves, err = clockMoves(c.program); err != nil {
		return err
	}
	if c.postgres, err = startPostgres(ctx, c.starter, filepath.Join(c.dir, "postgres")); err != nil {
		return err
	}
	if err := c.makeDatabase(ctx); err != nil {
		return err
	}
	if err := c.findPrevious(ctx, source); err != nil {
		return err
	}
	first := cmp.Or(c.previous, c.program)
	env := c.environment(c.postgres.addr(), "setup")
	var said []byte
	for _, args := range [][]string{{"master", "init"}, {"migrate", "up"}, {"api-key", "create", "--role=platform_admin", "--name=torture"}} {
		cmd := exec.CommandContext(ctx, first, args...)
		cmd.Env = env
		if said, err = cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("keyward %s: %w: %s", strings.Join(args, " "), err, said)
		}
	}
	if c.key = regexp.MustCompile(`kw_\w+`).FindString(string(said)); c.key == "" {
		return errors.New("keyward api-key create printed no key")
	}
	if err := c.addPooler(ctx); err != nil {
		return err
	}
	return c.addStandby(ctx)
}

// makeDatabase makes a login as docs advise: no superuser, so that it is not
// let in where only superusers are.
func (c *campaign) makeDatabase(ctx context.Context) error {
	conn, err := c.postgres.connect(ctx, "postgres", "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range []string{"CREATE ROLE keyward LOGIN CREATEROLE", "CREATE DATABASE keyward OWNER keyward"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// environment configures a process that reaches PostgreSQL at an address.
func (c *campaign) environment(postgres, name string) []string {
	return []string{
		"PATH=/usr/bin:/bin",
		"KEYWARD_DATABASE_URL=postgres://keyward@" + postgres + "/keyward?sslmode=disable&application_name=" + name,
		"KEYWARD_MASTER_KEY=file:" + filepath.Join(c.dir, "master.json"),
		"KEYWARD_PUBLIC_URL=" + publicURL,
		"KEYWARD_LOG_FORMAT=json",
		"KEYWARD_ROTATION_JITTER=0",
	}
}

// startProcesses starts the replicas and the workers, each with its own way to
// PostgreSQL and its own clock, and waits until the replicas are ready.
func (c *campaign) startProcesses(ctx context.Context) error {
	for i := range replicaCount + workerCount {
		p, err := c.newProcess(i)
		if err != nil {
			return err
		}
		c.processes = append(c.processes, p)
		if p.replica >= 0 {
			c.replicas = append(c.replicas, p)
		} else {
			c.workers = append(c.workers, p)
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	for _, p := range c.replicas {
		if err := until(ctx, time.Minute, func() error { return c.ready(ctx, p) }); err != nil {
			return fmt.Errorf("%s: %w: %s", p.name, err, strings.Join(p.logLines("", 20), "\n"))
		}
	}
	return nil
}

func (c *campaign) newProcess(i int) (*process, error) {
	p := &process{name: fmt.Sprintf("replica-%d", i), replica: i, program: cmp.Or(c.previous, c.program), starter: c.starter, args: []string{"serve", "--no-worker"}}
	if i >= replicaCount {
		p.name, p.replica, p.args = fmt.Sprintf("worker-%d", i-replicaCount), -1, []string{"worker"}
	}
	more, err := c.openWays(p)
	if err != nil {
		return nil, err
	}
	if p.clock, err = newClock(filepath.Join(c.dir, p.name+".clock")); err != nil {
		return nil, err
	}
	p.logFile = filepath.Join(c.dir, p.name+".log")
	p.env = append(append(c.environment(p.way.addr(), p.name), more...), clockVariable+"="+p.clock.file)
	if p.replica >= 0 {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		p.url, p.env = "http://"+addr, append(p.env, "KEYWARD_ADDR="+addr)
	}
	p.onCrash = func(p *process, err error) {
		c.record.broke(staysAlive, "%v; its last lines: %s", err, strings.Join(lastLines(p.logFile, 3), " | "))
		back := p.away()
		if p.start() == nil {
			back()
		}
	}
	return p, nil
}

// openWays opens a process's ways to PostgreSQL: one replica goes through PgBouncer, and one
// reads from the standby. more is what these add to its environment.
func (c *campaign) openWays(p *process) (more []string, err error) {
	database := func(w *way) string {
		return "postgres://keyward@" + w.addr() + "/keyward?sslmode=disable&application_name=" + p.name
	}
	if c.pooler != nil && p.replica == pooledReplica {
		if p.way, err = newWay(p.name, c.pooler.addr()); err != nil {
			return nil, err
		}
		if p.way.also, err = newWay(p.name+"-listen", c.postgres.addr()); err != nil {
			return nil, err
		}
		return []string{"KEYWARD_LISTEN_DATABASE_URL=" + database(p.way.also)}, nil
	}
	if p.way, err = newWay(p.name, c.postgres.addr()); err != nil {
		return nil, err
	}
	if c.standby != nil && p.replica == standbyReplica {
		if p.reading, err = newWay(p.name+"-standby", c.standby.addr()); err != nil {
			return nil, err
		}
		return []string{"KEYWARD_READ_DATABASE_URL=" + database(p.reading)}, nil
	}
	return nil, nil
}

func lastLines(file string, n int) []string {
	text, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i := range lines {
		lines[i] = shorten(lines[i], 400)
	}
	return lines
}

// ready asks a replica whether it can change and sign.
func (c *campaign) ready(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz answers %d", res.StatusCode)
	}
	return nil
}

// tenantKind is how a group of tenants signs.
type tenantKind struct {
	name      string
	count     int
	alg       string
	interval  int // seconds; 0: by hand
	skew      int
	spare     int // seconds of grace beyond the lifetime of tokens and skew
	byHand    bool
	verifiers bool // the models watch its rotations
}

// tokenLife is max_token_ttl_seconds of all tenants.
const tokenLife = 10

// tenantKinds: a lead of 20 s covers the caches (3 s), skew, the bound of the
// time of effect (5 s) and deafness (10 s), as a day does in production.
var tenantKinds = []tenantKind{
	{name: "scheduled", count: 2, alg: "ES256", interval: 25, skew: 2, spare: 16, verifiers: true},
	{name: "edwards", count: 1, alg: "EdDSA", interval: 25, skew: 2, spare: 16, verifiers: true},
	{name: "tight", count: 2, alg: "ES256", interval: 25, skew: 0, spare: 0, verifiers: true},
	{name: "rsa", count: 1, alg: "RS256", interval: 40, skew: 2, spare: 16},
	{name: "crowd", count: 100, alg: "ES256", interval: 25, skew: 2, spare: 16},
	{name: "hand", count: 2, alg: "ES256", interval: 0, skew: 2, spare: 16, byHand: true},
	{name: "both", count: 1, alg: "ES256", interval: 25, skew: 2, spare: 16, byHand: true},
	{name: "linear", count: 1, alg: "ES256", interval: 0, skew: 2, spare: 16},
}

// makeTenants makes the tenants that writers and readers work on.
func (c *campaign) makeTenants(ctx context.Context) error {
	for _, kind := range tenantKinds {
		for i := range kind.count {
			t, err := c.makeTenant(ctx, kind, fmt.Sprintf("%s-%d", kind.name, i))
			if err != nil {
				return err
			}
			if kind.name == "linear" {
				c.linear.tenant = t
				continue
			}
			c.tenants = append(c.tenants, t)
			if kind.verifiers {
				for _, m := range models {
					c.verifiers[t] = append(c.verifiers[t], newVerifier(m, t, -1))
				}
			}
		}
	}
	a := c.ask(ctx, 0, request{kind: "list keys", method: "GET", path: c.linear.tenant.path() + "/keys?state=active"})
	var list struct{ Items []keyAnswer }
	if err := a.decode(&list); err != nil || len(list.Items) != 1 {
		return fmt.Errorf("the key of %s: %s", c.linear.tenant.slug, a.said())
	}
	c.linear.first = list.Items[0].KID
	return nil
}

func (c *campaign) makeTenant(ctx context.Context, kind tenantKind, slug string) (*tenant, error) {
	t := &tenant{
		slug: slug, alg: kind.alg, byHand: kind.byHand, crowd: kind.name == "crowd", maxAge: 2 * time.Second, stale: time.Second,
		skew: time.Duration(kind.skew) * time.Second, ttl: tokenLife * time.Second,
	}
	for _, spare := range []int{kind.spare, kind.spare + 16} { // the second, should a rule ask for more
		t.policy = map[string]any{
			"alg": kind.alg, "rotation_interval_seconds": kind.interval, "publish_lead_seconds": 20,
			"grace_period_seconds": tokenLife + kind.skew + spare, "purge_after_seconds": 30,
			"default_token_ttl_seconds": tokenLife, "max_token_ttl_seconds": tokenLife, "max_published_keys": 64,
		}
		a := c.ask(ctx, 0, request{kind: "create tenant", method: "POST", path: "/v1/tenants", body: map[string]any{
			"slug": slug, "jwks_max_age_seconds": 2, "jwks_stale_while_revalidate_seconds": 1, "clock_skew_seconds": kind.skew, "policies": []any{t.policy},
		}})
		if a.status == http.StatusUnprocessableEntity && spare == kind.spare {
			continue
		}
		var said struct{ ID, Issuer string }
		if err := a.decode(&said); !a.ok() || err != nil {
			return nil, fmt.Errorf("create tenant %s: %s", slug, a.said())
		}
		t.id, t.issuer = said.ID, said.Issuer
		c.truth.settle(change{what: "creation of " + slug, action: "tenant.created", tries: []answer{a}}, "", func(h *history) string {
			if h.slugs[slug] != t.id {
				return "the tenant is gone"
			}
			return ""
		})
		return t, nil
	}
	return nil, fmt.Errorf("create tenant %s: refused", slug)
}

// endAll ends everything that was started, whatever state it is in.
func (c *campaign) endAll() {
	for _, p := range c.processes {
		p.signal(syscall.SIGCONT)
		p.end(syscall.SIGKILL, time.Second)
		p.way.close()
		if p.reading != nil {
			p.reading.close()
		}
	}
	if c.pooler != nil {
		c.pooler.signal(syscall.SIGCONT)
		c.pooler.end(syscall.SIGKILL, time.Second)
	}
	if c.standby != nil {
		c.standby.close()
	}
	if c.postgres != nil {
		c.postgres.close()
	}
}
