package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// urlVar names a server of the developer's own.
const urlVar = "KEYWARD_TEST_DATABASE_URL"

// wayVar allows only one way to a server.
const wayVar = "KEYWARD_TEST_POSTGRES"

// way is one of the ways to a server.
type way struct {
	name  string
	start func(context.Context) (*server, error)
}

// errAbsent means that a way does not exist here, which is no failure unless
// it was asked for.
var errAbsent = errors.New("not available")

// ways in the order they are tried.
var ways = []way{
	{"url", serverFromEnv},
	{"docker", startContainer},
	{"embedded", startEmbedded},
}

// findServer goes the first way that leads to a server. If none does, the error says
// why for each.
func findServer(ctx context.Context) (*server, error) {
	only := os.Getenv(wayVar)
	var errs []error
	for _, w := range ways {
		if only != "" && only != w.name {
			continue
		}
		s, err := w.start(ctx)
		if err == nil {
			return s, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", w.name, err))
		if w.name == "url" && !errors.Is(err, errAbsent) {
			break
		}
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("%s=%s: want url, docker or embedded", wayVar, only)
	}
	return nil, fmt.Errorf("no PostgreSQL to test with:\n%w", errors.Join(errs...))
}

// serverFromEnv returns the server that the environment names.
func serverFromEnv(context.Context) (*server, error) {
	url := os.Getenv(urlVar)
	if url == "" {
		return nil, fmt.Errorf("%w: %s is not set", errAbsent, urlVar)
	}
	return &server{url: url, keep: func() string { return "" }}, nil
}
