package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/keyward/keyward/client"
)

// Exit codes of the program, as in docs/contract.md.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is the command line, as kong parses it.
type cli struct {
	Dev      devCmd        `cmd:"" help:"Run everything with no configuration, for evaluation and development."`
	Serve    serveCmd      `cmd:"" help:"Serve the API and run the worker."`
	Worker   workerCmd     `cmd:"" help:"Run only the worker."`
	Migrate  migrateCmd    `cmd:"" help:"Manage the database schema."`
	Master   masterCmd     `cmd:"" help:"Manage the master key."`
	Tenant   tenantCmd     `cmd:"" help:"Manage tenants."`
	APIKey   apiKeyCmd     `cmd:"" name:"api-key" help:"Manage API keys."`
	Workload workloadCmd   `cmd:"" help:"Manage which tokens of other issuers sign in."`
	Key      keyCmd        `cmd:"" help:"Manage a tenant's keys."`
	Policy   policyCmd     `cmd:"" help:"Manage a tenant's signing policies."`
	Domain   domainCmd     `cmd:"" help:"Manage the hosts that a tenant has proved to own."`
	Approval approvalCmd   `cmd:"" help:"Manage approvals by a second person."`
	Token    tokenCmd      `cmd:"" help:"Sign and verify tokens."`
	Audit    auditCmd      `cmd:"" help:"Read and verify the audit history."`
	Events   eventsCmd     `cmd:"" help:"Stream events as they happen."`
	Webhook  webhookCmd    `cmd:"" help:"Manage webhooks."`
	Import   importFromCmd `cmd:"" name:"import-from" help:"Import the keys of another system, keeping their kids."`
	Recover  recoverCmd    `cmd:"" help:"Make a restored database whole, and revoke what came back to life."`
	Doctor   doctorCmd     `cmd:"" help:"Check the installation, and print what to do."`
	Help     helpCmd       `cmd:"" help:"List the commands, or explain one."`
	Version  versionCmd    `cmd:"" help:"Print version, commit and Go version."`

	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
	Complete   completeCmd   `cmd:"" hidden:"" help:"Print completions; called by those scripts."`
	Man        manCmd        `cmd:"" hidden:"" help:"Print the manual page."`
	Bench      benchCmd      `cmd:"" hidden:"" help:"Prepare databases for benchmarks."`

	Settings settings `embed:"" group:"settings"`
}

// program is passed to every command.
type program struct {
	cfg    config
	stdin  io.Reader
	stdout io.Writer // the result
	stderr io.Writer // the log, notes, questions and errors
	log    *slog.Logger
	lines  *asyncWriter // of the log of a service; nil for other commands

	tracing *tracing // nil: off
}

// runProgram executes the program and returns the exit code. An empty variable counts
// as unset. With --json an error is a problem document on stderr.
func runProgram(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	err := executeCommand(ctx, args, &program{stdin: stdin, stdout: stdout, stderr: stderr}, getenv)
	if err == nil {
		return exitOK
	}
	switch {
	case errors.Is(err, errReported):
	case wantsJSON(args):
		_ = writeProblem(stderr, err) // stderr is the only place to report to
	default:
		fmt.Fprintln(stderr, "keyward: "+errorText(err))
	}
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func executeCommand(ctx context.Context, args []string, p *program, getenv func(string) string) error {
	run, err := parseCommand(ctx, args, p, getenv)
	if err != nil || run == nil {
		return err
	}
	return run()
}

// parseCommand returns the command to run, nil if help was all that was wanted. What
// parsing needs is not reachable from a service's command, which lives long.
func parseCommand(ctx context.Context, args []string, p *program, getenv func(string) string) (run func() error, err error) {
	var c cli
	helped := false
	k, err := kong.New(&c, kong.Name("keyward"), kong.Description("Signing keys for multi-tenant platforms."),
		kong.Writers(p.stdout, p.stderr), kong.Exit(func(int) { helped = true }),
		kong.Resolvers(envResolver(getenv)), kong.Help(printHelp),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return nil, &usageError{"expected one of these commands\n\n" + strings.TrimSuffix(commandList(k.Model.Node), "\n")}
	}
	command, err := k.Parse(args)
	if helped {
		return nil, nil
	}
	if err != nil {
		return nil, wrongUsage(err)
	}
	if name, _, _ := strings.Cut(command.Command(), " "); !slices.Contains([]string{"version", "help", "completion", "complete", "man"}, name) {
		if p.cfg, err = c.Settings.parse(ctx); err != nil {
			return nil, err
		}
	}
	p.log = p.cfg.newLogger(p.stderr)
	execute := func() error { return command.Run(p) }
	if cmd, ok := command.Selected().Target.Addr().Interface().(interface {
		Run(context.Context, *program) error
	}); ok {
		execute = func() error { return cmd.Run(ctx, p) }
	}
	return func() error {
		err := execute()
		var waits *client.ApprovalError
		if from, remote := command.Selected().Target.Addr().Interface().(interface{ remote() remoteFlags }); remote && errors.As(err, &waits) {
			return p.printPendingApproval(from.remote(), approvalTenant(waits.Approval), waits.Approval, ownWords(args))
		}
		return err
	}, nil
}

// variableOf returns the environment variable of a flag, "" if it has none.
func variableOf(tag *kong.Tag) string {
	if tag == nil || !tag.Has("var") {
		return ""
	}
	return tag.Get("var")
}

// fileSuffix ends the name of a variable that names a file with a secret, as container
// platforms and systemd hand secrets over.
const fileSuffix = "_FILE"

const maxSecret = 64 << 10 // bytes

// readSecret returns the content of a secret's file without the line break at its end.
func readSecret(name, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", &usageError{fmt.Sprintf("%s: %v", name, err)}
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return "", &usageError{fmt.Sprintf("%s: %v", name, err)}
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if secret == "" || len(content) > maxSecret || strings.ContainsAny(secret, "\r\n\x00") {
		return "", badValue(name, "a file with the secret in one line")
	}
	return secret, nil
}

// envResolver returns the variables as values of flags that are not given.
func envResolver(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
		name := variableOf(f.Tag)
		if file := getenv(name + fileSuffix); f.Tag.Has("secret") && file != "" {
			if getenv(name) != "" {
				return nil, &usageError{name + " and " + name + fileSuffix + " are both set; set one of them"}
			}
			return readSecret(name+fileSuffix, file)
		}
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
