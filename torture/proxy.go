package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// way is how one process reaches PostgreSQL: through toxiproxy, which knows
// networks, and then through commitProxy, which knows COMMIT.
type way struct {
	toxic   *toxiproxy.Proxy
	commits *commitProxy
	also    *way // for LISTEN, past a pooler; what happens to one happens to both
}

// Toxics log by the global logger.
func init() { zerolog.SetGlobalLevel(zerolog.Disabled) }

// newWay opens a way to PostgreSQL at an address.
func newWay(name, postgres string) (*way, error) {
	commits, err := newCommitProxy(postgres)
	if err != nil {
		return nil, err
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	toxic := toxiproxy.NewProxy(server, name, "127.0.0.1:0", commits.addr())
	if err := toxic.Start(); err != nil {
		commits.close()
		return nil, err
	}
	return &way{toxic: toxic, commits: commits}, nil
}

func (w *way) addr() string { return w.toxic.Listen }

func (w *way) close() {
	w.commits.close()
	w.toxic.Stop()
	if w.also != nil {
		w.also.close()
	}
}

// poison adds a toxic to both directions, and returns how to take it back.
func (w *way) poison(kind string, attributes map[string]any) (cure func() error, err error) {
	other := func() error { return nil }
	if w.also != nil {
		if other, err = w.also.poison(kind, attributes); err != nil {
			return nil, err
		}
	}
	var names []string
	for _, stream := range []string{"upstream", "downstream"} {
		name := kind + "-" + stream
		text, err := json.Marshal(map[string]any{"name": name, "type": kind, "stream": stream, "attributes": attributes})
		if err != nil {
			return nil, err
		}
		if _, err := w.toxic.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
			return nil, fmt.Errorf("toxic %s: %w", kind, err)
		}
		names = append(names, name)
	}
	return func() error {
		for _, name := range names {
			if err := w.remove(name); err != nil {
				return err
			}
		}
		return other()
	}, nil
}

// remove takes a toxic away. A link that is stuck in a write is cut.
func (w *way) remove(name string) error {
	done := make(chan error, 1)
	go func() { done <- w.toxic.Toxics.RemoveToxic(context.Background(), name) }()
	select {
	case err := <-done:
		return err
	case <-time.After(3 * time.Second):
		w.cut()()
		return <-done
	}
}

// cut refuses connections and ends those there are, until join is called.
func (w *way) cut() (join func()) {
	w.toxic.Stop()
	other := func() {}
	if w.also != nil {
		other = w.also.cut()
	}
	return func() { _ = w.toxic.Start(); other() } // it is not started a second time
}
