package dbtest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
)

// DefaultImage is what containers are made from.
const DefaultImage = "postgres:17-alpine"

// quick are the settings of servers whose data need not survive the machine. It
// does survive the server's death, so synchronous_commit stays on.
var quick = map[string]string{
	"fsync":            "off",
	"full_page_writes": "off",
	"autovacuum":       "off", // it would hold the template
	"max_connections":  "200",
}

// startContainer runs PostgreSQL on the Docker engine, with its data in memory.
func startContainer(ctx context.Context) (*server, error) {
	if err := dockerEngineAnswers(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", errAbsent, err)
	}
	image := cmp.Or(os.Getenv("KEYWARD_TEST_POSTGRES_IMAGE"), DefaultImage)
	var args []string
	for name, value := range quick {
		args = append(args, "-c", name+"="+value)
	}
	c, err := postgres.Run(ctx, image,
		postgres.WithUsername("postgres"), postgres.WithPassword("postgres"), postgres.WithDatabase("keyward"),
		testcontainers.WithTmpfs(map[string]string{"/ram": "rw"}),
		testcontainers.WithEnv(map[string]string{"PGDATA": "/ram/data"}),
		testcontainers.WithCmdArgs(args...),
		postgres.BasicWaitStrategies())
	if c != nil {
		removeAtExit(c.GetContainerID())
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", image, err)
	}
	url, err := c.ConnectionString(ctx, "sslmode=disable")
	keep := func() string { return " (in a container that ends with this process: set " + urlVar + " to keep it)" }
	return &server{url: url, keep: keep}, err
}

// dockerEngineAnswers reports whether a Docker engine answers.
func dockerEngineAnswers(ctx context.Context) (err error) {
	defer func() { // the search for its address panics when there is none
		if r := recover(); r != nil {
			err = fmt.Errorf("no Docker engine: %v", r)
		}
	}()
	p, err := testcontainers.NewDockerProvider()
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Health(ctx)
}

// removeAtExit removes a container when this process ends. Without
// testcontainers' own reaper, which is a container too and may not be had,
// nobody else does.
func removeAtExit(id string) {
	if docker, err := exec.LookPath("docker"); err == nil && id != "" {
		_, _ = atExit(`while read -r _; do :; done; exec "$1" rm -fv "$2"`, docker, id) // a kindness: tests run without
	}
}
