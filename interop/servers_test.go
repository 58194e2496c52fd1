package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startServer runs a server in the foreground until the test ends, and returns
// when it listens.
func startServer(t *testing.T, addr string, cmd *exec.Cmd) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, 5*time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		<-ended
	})
	eventually(t, cmd.Path+" listens", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, &said)
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// bearer asks a server with a token. The subject is what the server writes into
// the header or the body of its answer.
func bearer(url string, subject func(*http.Response, string) string) verifySubject {
	return func(ctx context.Context, token string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errBroken, err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errBroken, err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errBroken, err)
		}
		if resp.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%s", resp.Status)
		}
		return subject(resp, string(body)), nil
	}
}

// openHAProxy has one PEM file for each key that is published now.
func openHAProxy(t *testing.T, r *reader, tn *tenant, algorithms []string) session {
	dir, file := r.prepare(t, tn, algorithms)
	var lines []string
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	kids := tn.published(t)
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "KID") {
			lines = append(lines, line)
			continue
		}
		for _, kid := range kids {
			lines = append(lines, strings.ReplaceAll(line, "KID", kid))
		}
	}
	for _, kid := range kids {
		if err := os.WriteFile(filepath.Join(dir, kid+".pem"), tn.pem(t, kid), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	addr := serverAddr(t)
	config := strings.NewReplacer("/etc/haproxy/keys", dir, "127.0.0.1:8080", addr).Replace(strings.Join(lines, ""))
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	startServer(t, addr, exec.CommandContext(t.Context(), sbin("haproxy"), "-db", "-f", file))
	version, _, _ := strings.Cut(strings.Fields(firstLine(t, sbin("haproxy"), "-v"))[2], "-")
	return session{
		version: version,
		verify:  bearer("http://"+addr, func(_ *http.Response, body string) string { return body }),
	}
}

// apachePrelude is what a configuration of Apache needs beside the example.
const apachePrelude = `ServerRoot "DIR"
ServerName localhost
Listen ADDR
PidFile DIR/pid
ErrorLog DIR/error.log
LogLevel warn
LoadModule mpm_event_module MODULES/mod_mpm_event.so
LoadModule authn_core_module MODULES/mod_authn_core.so
LoadModule authz_core_module MODULES/mod_authz_core.so
LoadModule authz_user_module MODULES/mod_authz_user.so
LoadModule headers_module MODULES/mod_headers.so
ServerLimit 1
ThreadsPerChild 8
MaxRequestWorkers 8
Header always set X-Subject "expr=%{REMOTE_USER}"
DocumentRoot "DIR"
`

// apacheModules is where Debian has them.
const apacheModules = "/usr/lib/apache2/modules"

// openApache runs Apache with the example and with a module, and lines of its own.
func openApache(module string, own ...string) func(*testing.T, *reader, *tenant, []string) session {
	return func(t *testing.T, r *reader, tn *tenant, algorithms []string) session {
		addr := serverAddr(t)
		startApache(t, r, tn, addr, module, own...)
		return session{packaged(t, "libapache2-mod-"+strings.ReplaceAll(module, "_", "-")), bearer("http://"+addr+"/page", func(resp *http.Response, _ string) string { return resp.Header.Get("X-Subject") })}
	}
}

// startApache returns when Apache listens.
func startApache(t *testing.T, r *reader, tn *tenant, addr, module string, own ...string) {
	t.Helper()
	dir, file := r.prepare(t, tn, nil)
	example, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	prelude := apachePrelude
	if os.Geteuid() == 0 {
		prelude += "User daemon\nGroup daemon\n"
	}
	prelude += "LoadModule " + module + "_module MODULES/mod_" + module + ".so\n" + strings.Join(own, "\n") + "\n"
	config := strings.NewReplacer("DIR", dir, "ADDR", addr, "MODULES", apacheModules, "CABUNDLE", trusted.file).Replace(prelude) +
		strings.ReplaceAll(string(example), "https://www.example.com", "http://"+addr)
	page := os.WriteFile(filepath.Join(dir, "page"), []byte("served\n"), 0o644)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil || page != nil {
		t.Fatal(err, page)
	}
	startServer(t, addr, trustedBySystem(t, sbin("apache2"), "-D", "FOREGROUND", "-f", file))
}

// systemBundle is what programs trust that take no other bundle, at Debian.
const systemBundle = "/etc/ssl/certs/ca-certificates.crt"

// trustedBySystem is a command that sees the bundle of the run instead of the one
// of the system: in a mount name space of its own, which takes root.
func trustedBySystem(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	script := `mount --bind "$0" ` + systemBundle + ` && exec "$@"`
	return exec.CommandContext(t.Context(), "unshare", append([]string{"-m", "sh", "-c", script, trusted.file, name}, args...)...)
}

func serverAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// sbin is a program that may be missing on the PATH of a user.
func sbin(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name)
}

// packaged is the upstream version of a package of Debian, for programs that do not
// say theirs; empty elsewhere.
func packaged(t *testing.T, name string) string {
	t.Helper()
	version, err := exec.CommandContext(t.Context(), "dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		t.Logf("the version of %s: %v", name, err)
	}
	upstream, _, _ := strings.Cut(string(version), "-")
	return upstream
}

func firstLine(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
