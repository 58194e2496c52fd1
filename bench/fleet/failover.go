package main

import (
	"context"
	"fmt"
	"time"
)

// failover kills the primary under load, and says for how long what was refused.
func failover(ctx context.Context, s *site) error {
	c, err := s.patroniCluster(ctx)
	if err != nil {
		return err
	}
	f, err := s.serve(ctx, c.url())
	if err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	l, wait := f.load(loading, s.tenants)
	if err := pause(ctx, s.before); err != nil {
		return err
	}
	name, err := c.killLeader()
	if err != nil {
		return err
	}
	killed := time.Now()
	fmt.Printf("%d tenants, %d replicas, synchronous replication, ttl %d s; killed the primary, %s\n", s.tenants, s.replicas, s.ttl, name)
	if err := until(ctx, 5*time.Minute, func() error { return c.elected(name) }); err != nil {
		return err
	}
	fmt.Printf("another primary after %.1f s\n", time.Since(killed).Seconds())
	if err := pause(ctx, 30*time.Second); err != nil {
		return err
	}
	stop()
	wait()
	fmt.Println("tokens:     ", summary(l.tokens, killed))
	fmt.Println("JWKS:       ", summary(l.sets, killed))
	fmt.Println("revocations:", summary(l.revocations, killed))
	if err := f.check(ctx, s.tenants, l.revoked); err != nil {
		return err
	}
	fmt.Printf("all %d acknowledged revocations are there, all %d histories are intact\n", len(l.revoked), s.tenants)
	return nil
}

// elected waits for a leader that is another one.
func (c *cluster) elected(old string) error {
	return c.count(func(m member) bool { return m.Role == "leader" && m.State == "running" && m.Name != old }, 1)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
