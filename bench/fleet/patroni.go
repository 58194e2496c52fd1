package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const nodes = 3

// cluster is PostgreSQL's nodes under Patroni.
type cluster struct {
	site    *site
	rest    [nodes]int // ports
	sql     [nodes]int
	patroni [nodes]*exec.Cmd
}

func (s *site) patroniCluster(ctx context.Context) (*cluster, error) {
	c := &cluster{site: s}
	store, err := s.etcd()
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		var err1, err2 error
		c.rest[i], err1 = freePort()
		c.sql[i], err2 = freePort()
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		if err := c.startNode(i, store); err != nil {
			return nil, err
		}
		if i == 0 {
			if err := until(ctx, time.Minute, func() error { return c.has("leader", 1) }); err != nil {
				return nil, err
			}
		}
	}
	// Until a synchronous standby is registered, what was acknowledged can be lost.
	return c, until(ctx, 2*time.Minute, func() error { return errors.Join(c.has("sync_standby", 1), c.running(nodes)) })
}

func (s *site) etcd() (port int, err error) {
	port, err = freePort()
	if err != nil {
		return 0, err
	}
	peer, err := freePort()
	if err != nil {
		return 0, err
	}
	client, between := fmt.Sprintf("http://127.0.0.1:%d", port), fmt.Sprintf("http://127.0.0.1:%d", peer)
	_, err = s.start("etcd", s.cred, nil, "etcd", "--data-dir="+filepath.Join(s.dir, "etcd"), "--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+between, "--initial-advertise-peer-urls="+between, "--initial-cluster=default="+between)
	return port, err
}

func (c *cluster) startNode(i, store int) error {
	binaries, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(binaries) == 0 {
		return fmt.Errorf("no PostgreSQL in /usr/lib/postgresql: %w", err)
	}
	name := fmt.Sprintf("n%d", i)
	config, err := c.site.write(name+".yml", fmt.Sprintf(`scope: keyward
name: %[1]s
restapi: {listen: "127.0.0.1:%[2]d", connect_address: "127.0.0.1:%[2]d"}
etcd3: {host: "127.0.0.1:%[3]d"}
bootstrap:
  dcs:
    ttl: %[4]d
    loop_wait: %[5]d
    retry_timeout: 3
    synchronous_mode: true
    postgresql: {use_pg_rewind: true, parameters: {max_connections: 200, wal_log_hints: "on"}}
  initdb: [{encoding: UTF8}, {locale: C.UTF-8}, data-checksums]
postgresql:
  listen: "127.0.0.1:%[6]d"
  connect_address: "127.0.0.1:%[6]d"
  data_dir: %[7]s/%[1]s
  bin_dir: %[8]s
  pgpass: %[7]s/%[1]s.pgpass
  authentication: {superuser: {username: postgres}, replication: {username: replicator, password: local}}
  parameters: {unix_socket_directories: %[7]s}
  pg_hba: [local all all trust, host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
`, name, c.rest[i], store, c.site.ttl, c.site.wait, c.sql[i], c.site.dir, binaries[len(binaries)-1]))
	if err != nil {
		return err
	}
	c.patroni[i], err = c.site.start(name, c.site.cred, nil, "patroni", config)
	return err
}

// url is how Keyward reaches whichever node is the primary.
func (c *cluster) url() string {
	var hosts []string
	for _, port := range c.sql {
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return "postgres://postgres@" + strings.Join(hosts, ",") + "/postgres?target_session_attrs=read-write&connect_timeout=2&sslmode=disable"
}

type member struct{ Name, Role, State string }

// members asks any node that answers.
func (c *cluster) members() ([]member, error) {
	var errs []error
	for _, port := range c.rest {
		res, err := (&http.Client{Timeout: 2 * time.Second}).Get(fmt.Sprintf("http://127.0.0.1:%d/cluster", port))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		defer res.Body.Close()
		var seen struct{ Members []member }
		return seen.Members, json.NewDecoder(res.Body).Decode(&seen)
	}
	return nil, errors.Join(errs...)
}

func (c *cluster) count(is func(member) bool, want int) error {
	all, err := c.members()
	n := 0
	for _, m := range all {
		if is(m) {
			n++
		}
	}
	if err == nil && n < want {
		err = fmt.Errorf("%+v", all)
	}
	return err
}

func (c *cluster) has(role string, want int) error {
	return c.count(func(m member) bool { return m.Role == role && m.State == "running" }, want)
}

func (c *cluster) running(want int) error {
	return c.count(func(m member) bool { return m.State == "running" || m.State == "streaming" }, want)
}

// killLeader ends the primary and its Patroni as a power cut would.
func (c *cluster) killLeader() (name string, err error) {
	all, err := c.members()
	if err != nil {
		return "", err
	}
	for _, m := range all {
		if m.Role != "leader" {
			continue
		}
		i, err := strconv.Atoi(m.Name[1:])
		if err != nil {
			return "", err
		}
		text, err := os.ReadFile(filepath.Join(c.site.dir, m.Name, "postmaster.pid"))
		if err != nil {
			return "", err
		}
		first, _, _ := strings.Cut(string(text), "\n")
		pid, err := strconv.Atoi(first)
		if err != nil {
			return "", err
		}
		return m.Name, errors.Join(c.patroni[i].Process.Kill(), syscall.Kill(pid, syscall.SIGKILL))
	}
	return "", fmt.Errorf("there is no leader: %+v", all)
}
