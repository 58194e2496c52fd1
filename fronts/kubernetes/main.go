// Command keyward-kubernetes-signer signs the service account tokens of a Kubernetes cluster
// with the keys of a tenant of Keyward. It serves kube-apiserver the external JWT signer API
// (k8s.io/externaljwt, v1) on a Unix socket; docs/fronts.md tells how to set it up. It is a
// module of its own, so that nobody else inherits gRPC. It is internal to Keyward: no
// compatibility promise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	externaljwt "k8s.io/externaljwt/apis/v1"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/sdnotify"
)

// version is set by the linker.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, os.Args[1:], os.Getenv, log); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			log.Error("the signer has ended", "error", err)
		}
		stop()
		os.Exit(1)
	}
}

// run serves until ctx is done. It returns an error at once if Keyward cannot be reached or
// the tenant's policy is one that kube-apiserver would refuse.
func run(ctx context.Context, args []string, getenv func(string) string, log *slog.Logger) error {
	flags := flag.NewFlagSet("keyward-kubernetes-signer", flag.ContinueOnError)
	url := flags.String("url", getenv("KEYWARD_URL"), "Connect to this Keyward (KEYWARD_URL).")
	tenant := flags.String("tenant", getenv("KEYWARD_TENANT"), "Sign with the keys of this tenant, by slug or id (KEYWARD_TENANT).")
	alg := flags.String("alg", "ES256", "Sign with this algorithm: RS256, ES256, ES384 or ES512.")
	socket := flags.String("socket", "/run/keyward/kubernetes.sock", "Listen on this Unix socket.")
	showVersion := flags.Bool("version", false, "Print the version and end.")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *showVersion {
		_, err := fmt.Println("keyward-kubernetes-signer", version)
		return err
	}
	if *url == "" || *tenant == "" || flags.NArg() > 0 {
		return errors.New("give --url and --tenant, and nothing but flags")
	}
	key, err := apiKey(getenv)
	if err != nil {
		return err
	}
	// kube-apiserver repeats what fails, and its deadline must not pass before it hears of it.
	c, err := client.New(*url, key, client.UserAgent("keyward-kubernetes-signer"), client.Retries(0))
	if err != nil {
		return err
	}
	s, err := newSigner(ctx, c, *tenant, *alg, log)
	if err != nil {
		return err
	}
	return s.listenAndServe(ctx, *socket)
}

// apiKey reads the credential from KEYWARD_API_KEY or the file that KEYWARD_API_KEY_FILE
// names. There is no flag for it, since other users of the machine can read flags.
func apiKey(getenv func(string) string) (string, error) {
	path := getenv("KEYWARD_API_KEY_FILE")
	if key := getenv("KEYWARD_API_KEY"); path == "" || key != "" {
		if path != "" {
			return "", errors.New("KEYWARD_API_KEY and KEYWARD_API_KEY_FILE are both set; set one of them")
		}
		return key, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("KEYWARD_API_KEY_FILE: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, 64<<10))
	return strings.TrimSpace(string(content)), err
}

// listenAndServe serves on a Unix socket until ctx is done, and lets calls under way end.
func (s *signer) listenAndServe(ctx context.Context, socket string) error {
	listener, err := listen(socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	externaljwt.RegisterExternalJWTSignerServer(server, s)
	defer context.AfterFunc(ctx, func() {
		sdnotify.Notify("STOPPING=1")
		server.GracefulStop()
	})()
	s.log.Info("signing for kube-apiserver", "socket", socket, "tenant", s.tenant, "alg", s.alg, "issuer", s.issuer)
	sdnotify.Notify("READY=1") // the socket accepts connections since listen
	return server.Serve(listener)
}
