package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Exit codes of the program, as in docs/contract.md.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is what can be typed.
type cli struct {
	Dev      devCmd        `cmd:"" help:"Run everything with no configuration, for trying out and for development."`
	Serve    serveCmd      `cmd:"" help:"Run the API, and the worker."`
	Worker   workerCmd     `cmd:"" help:"Run the worker alone."`
	Migrate  migrateCmd    `cmd:"" help:"The database's schema."`
	Master   masterCmd     `cmd:"" help:"The master key."`
	Tenant   tenantCmd     `cmd:"" help:"Tenants."`
	APIKey   apiKeyCmd     `cmd:"" name:"api-key" help:"Credentials."`
	Key      keyCmd        `cmd:"" help:"A tenant's keys."`
	Policy   policyCmd     `cmd:"" help:"How a tenant signs with an algorithm."`
	Approval approvalCmd   `cmd:"" help:"What waits for a second person."`
	Token    tokenCmd      `cmd:"" help:"Sign and verify tokens."`
	Audit    auditCmd      `cmd:"" help:"What happened."`
	Events   eventsCmd     `cmd:"" help:"Hear of events as they happen."`
	Webhook  webhookCmd    `cmd:"" help:"Events by signed POST."`
	Import   importFromCmd `cmd:"" name:"import-from" help:"Move the keys of another system in, keeping their kids."`
	Doctor   doctorCmd     `cmd:"" help:"Check everything, and say what to do."`
	Version  versionCmd    `cmd:"" help:"Version, commit, Go version."`

	Completion completionCmd `cmd:"" help:"A script that lets a shell complete what is typed."`
	Complete   completeCmd   `cmd:"" hidden:"" help:"What could come next; for those scripts."`
	Bench      benchCmd      `cmd:"" hidden:"" help:"Databases to measure."`

	Settings settings `embed:"" group:"Configuration, by flag or environment:"`
}

// program is what every command is given.
type program struct {
	cfg    config
	stdin  io.Reader
	stdout io.Writer // what was asked for
	stderr io.Writer // the log, and what is said about the answer
	log    *slog.Logger
}

// run is the program: it returns the exit code. getenv is the environment; an
// empty variable is one that is not set.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	err := execute(ctx, args, &program{stdin: stdin, stdout: stdout, stderr: stderr}, getenv)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errTold) {
		fmt.Fprintln(stderr, "keyward: "+explain(err))
	}
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func execute(ctx context.Context, args []string, p *program, getenv func(string) string) error {
	var c cli
	helped := false
	k, err := kong.New(&c, kong.Name("keyward"), kong.Description("Signing keys for multi-tenant platforms."),
		kong.Writers(p.stdout, p.stderr), kong.Exit(func(int) { helped = true }),
		kong.Resolvers(environment(getenv)), kong.ValueFormatter(withVariable),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	command, err := k.Parse(args)
	if helped {
		return nil
	}
	if err != nil {
		return wrongUsage(err)
	}
	if name, _, _ := strings.Cut(command.Command(), " "); !slices.Contains([]string{"version", "completion", "complete"}, name) {
		if p.cfg, err = c.Settings.parse(ctx); err != nil {
			return err
		}
	}
	p.log = p.cfg.logger(p.stderr)
	return command.Run(p)
}

// variable is the environment variable of a flag, "" if it has none.
func variable(tag *kong.Tag) string {
	if tag == nil || !tag.Has("var") {
		return ""
	}
	return tag.Get("var")
}

// withVariable shows the variable in the help.
func withVariable(v *kong.Value) string {
	if name := variable(v.Tag); name != "" {
		return strings.TrimSuffix(v.Help, ".") + " [" + name + "]"
	}
	return v.Help
}

// environment lets variables stand for flags that were not given.
func environment(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
		name := variable(f.Tag)
		if name == "" || getenv(name) == "" {
			return nil, nil
		}
		value := getenv(name)
		if !f.IsBool() {
			return value, nil
		}
		switch strings.ToLower(value) {
		case "true", "1", "yes", "on":
			return true, nil
		case "false", "0", "no", "off":
			return false, nil
		}
		return nil, badValue(name, "true or false")
	})
}
