package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPrograms runs the programs of docs/integrating.md: each issues a token per
// tenant, verifies it, follows a rotation and a revocation, verifies a webhook and
// repeats a change. One whose language this machine lacks is skipped.
func TestPrograms(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*testing.T) string{"node": nodeProgram, "python": pythonProgram, "java": javaProgram, "go": goProgram} {
		t.Run(name, func(t *testing.T) {
			out := run(t)
			for _, step := range []string{"issued and verified", "followed a rotation", "heard of a revocation", "verified a webhook: webhook.created"} {
				if !strings.Contains(out, step) {
					t.Errorf("it has not %s", step)
				}
			}
		})
	}
}

// nodeProgram runs where @keyward/client is installed.
func nodeProgram(t *testing.T) string {
	const client = "../clients/node"
	needNode(t, client)
	dir := t.TempDir()
	program, err := os.ReadFile("../examples/node/program.mjs")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "program.mjs"), program, 0o644)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "node_modules/@keyward"), 0o755)
	}
	target, bad := filepath.Abs(client)
	if err == nil && bad == nil {
		err = os.Symlink(target, filepath.Join(dir, "node_modules/@keyward/client"))
	}
	if err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	return runIn(t, dir, "node", "program.mjs")
}

// pythonProgram runs with a Python that has PyJWT: the one on the PATH, or Debian's.
func pythonProgram(t *testing.T) string {
	return runIn(t, "../examples/python", findPython(t), "-B", "program.py")
}

func findPython(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import jwt, cryptography; jwt.PyJWK").Run() == nil {
			return python
		}
	}
	t.Skip("there is no python3 with PyJWT and cryptography")
	return ""
}

// javaProgram runs with a trust store that has this run's authority.
func javaProgram(t *testing.T) string {
	needJDK(t)
	store := filepath.Join(t.TempDir(), "trusted.p12")
	runQuietly(t, ".", "keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", trusted.file, "-keystore", store, "-storetype", "PKCS12", "-storepass", "changeit")
	return runIn(t, "../examples/java", "java", "-Djavax.net.ssl.trustStore="+store, "-Djavax.net.ssl.trustStorePassword=changeit", "Program.java")
}

// needJDK skips a test on a machine that has no JDK.
func needJDK(t *testing.T) {
	t.Helper()
	for _, program := range []string{"java", "javac", "keytool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s on the PATH", program)
		}
	}
}

func goProgram(t *testing.T) string { return runIn(t, "../examples", "go", "run", "./integrating") }
