package interop

import (
	"bytes"
	"context"
	"os/exec"
	"testing"
)

// TestNodeClient runs the tests of the npm package clients/node, with the real
// frameworks, against Keyward, and compiles its declarations.
func TestNodeClient(t *testing.T) {
	t.Parallel()
	const dir = "../clients/node"
	needNode(t, dir)
	t.Run("declarations", func(t *testing.T) { runIn(t, dir, "npm", "run", "--silent", "check") })
	t.Run("tests", func(t *testing.T) { runIn(t, dir, "npm", "--silent", "test") })
}

// needNode installs the packages of dir, or skips the test where there is no Node.js, or
// no registry that has all of them.
func needNode(t *testing.T, dir string) {
	t.Helper()
	err := checkNode(t.Context())
	if err == nil {
		err = installed(dir)
	}
	if err != nil {
		t.Skip(err)
	}
}

// runIn runs a program that calls Keyward, and logs what it says. It returns its
// output.
func runIn(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = append(trusted.environment(), "KEYWARD_URL="+keyward.url, "KEYWARD_API_KEY="+keyward.adminKey, "NODE_TEST_CONTEXT=", "FORCE_COLOR=0")
	err := cmd.Run()
	if err != nil {
		t.Errorf("%s %v: %v\n%s", name, args, err, &out)
	} else {
		t.Logf("%s", &out)
	}
	return out.String()
}
