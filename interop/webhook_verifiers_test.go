package interop

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const webhookID = "0198c2f4-7d1e-7c7a-9d0b-3f6d2f6f2a11"

// webhookRequest is a delivery as a receiver gets it.
type webhookRequest struct {
	name      string
	signature string
	body      []byte
	genuine   bool
}

// webhookRequests returns a genuine delivery, twice, and forgeries: each of them differs
// from it in one thing that a receiver has to check. Its JWK Set is served at the URL.
func webhookRequests(t *testing.T) (jwksURL string, list []webhookRequest) {
	t.Helper()
	platform, stranger := newWebhookKey(t), newWebhookKey(t)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: platform.Public(), KeyID: "platform", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	t.Cleanup(server.Close)
	now := time.Now()
	body := func(id, webhook string, sentAt any) []byte {
		out := map[string]any{"id": id, "webhook_id": webhook, "attempt": 1, "sent_at": sentAt, "event": map[string]any{"tenant": "acme", "seq": 7, "action": "key.revoked", "kid": id}}
		if sentAt == nil {
			delete(out, "sent_at")
		}
		text, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	at := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339Nano) }
	const typ = "keyward-webhook+jws"
	genuine := body("genuine", webhookID, at(0))
	signed := platform.detached(t, "platform", typ, genuine)
	add := func(name, signature string, body []byte) {
		list = append(list, webhookRequest{name: name, signature: signature, body: body})
	}
	list = append(list, webhookRequest{"genuine", signed, genuine, true}, webhookRequest{"genuine, a second time", signed, genuine, true})
	add("another body", signed, bytes.Replace(genuine, []byte("acme"), []byte("evil"), 1))
	add("another space", signed, append(bytes.Clone(genuine), ' '))
	add("a stranger's key", stranger.detached(t, "platform", typ, genuine), genuine)
	add("an unknown key", stranger.detached(t, "stranger", typ, genuine), genuine)
	add("signed for a token", platform.detached(t, "platform", "JWT", genuine), genuine)
	add("signed for nothing", platform.detached(t, "platform", "", genuine), genuine)
	add("without a signature", "", genuine)
	parts := strings.Split(signed, ".")
	add("an empty signature", parts[0]+"..", genuine)
	add("alg none", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"platform","typ":"`+typ+`"}`))+"..", genuine)
	add("alg HS256", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"platform","typ":"`+typ+`"}`))+".."+parts[2], genuine)
	for name, forged := range map[string][]byte{
		"for another webhook": body("w", "0198c2f4-0000-7c7a-9d0b-3f6d2f6f2a11", at(0)),
		"for no webhook":      body("n", "", at(0)),
		"an hour old":         body("o", webhookID, at(-time.Hour)),
		"of the future":       body("f", webhookID, at(time.Hour)),
		"without a time":      body("t", webhookID, nil),
		"with a time of none": body("x", webhookID, "soon"),
	} {
		add(name, platform.detached(t, "platform", typ, forged), forged)
	}
	return server.URL, list
}

type webhookKey struct{ *ecdsa.PrivateKey }

func newWebhookKey(t *testing.T) webhookKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return webhookKey{key}
}

// detached returns a detached JWS (RFC 7515 appendix F) over a body.
func (k webhookKey) detached(t *testing.T, kid, typ string, body []byte) string {
	t.Helper()
	opts := &jose.SignerOptions{}
	if typ != "" {
		opts = opts.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k.PrivateKey, KeyID: kid}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.DetachedCompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestNodeWebhookReceiver runs the receiver of docs/webhooks.md: it takes what is genuine,
// acts on it once, and refuses every forgery.
func TestNodeWebhookReceiver(t *testing.T) {
	needNode(t, "node")
	modules, err := filepath.Abs("node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program, err := os.ReadFile("../examples/node/webhook.mjs")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "webhook.mjs"), program, 0o644)
	}
	if err == nil {
		err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
	}
	if err != nil {
		t.Fatal(err)
	}
	jwksURL, list := webhookRequests(t)
	cmd := exec.CommandContext(t.Context(), "node", "webhook.mjs")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), "PORT=0", "KEYWARD_JWKS="+jwksURL, "KEYWARD_WEBHOOK_ID="+webhookID)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var port int
	if !lines.Scan() {
		t.Fatal("it does not listen")
	}
	if _, err := fmt.Sscanf(lines.Text(), "listening on %d", &port); err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/", port), bytes.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		if r.signature != "" {
			req.Header.Set("Keyward-Signature", r.signature)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if want := map[bool]int{true: http.StatusNoContent, false: http.StatusUnauthorized}[r.genuine]; res.StatusCode != want {
			t.Errorf("%s: %d, want %d", r.name, res.StatusCode, want)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var acted []string
	for lines.Scan() {
		acted = append(acted, lines.Text())
	}
	_ = cmd.Wait() // killed
	if len(acted) != 1 || acted[0] != "acme 7 key.revoked genuine" {
		t.Errorf("it acted on %q", acted)
	}
}

// pythonWebhooks reads deliveries, a JSON object a line, and says of each whether
// verify_webhook of docs/integrating.md accepts it.
const pythonWebhooks = `
import base64, json, sys
import program
platform = program.Keys(sys.argv[1])
for line in sys.stdin:
    request = json.loads(line)
    try:
        program.verify_webhook(base64.b64decode(request["body"]), request["signature"], sys.argv[2], platform)
        print("accepted")
    except Exception:
        print("refused")
`

// TestPythonWebhookVerifier runs verify_webhook of docs/integrating.md, which leaves
// repetitions to its caller.
func TestPythonWebhookVerifier(t *testing.T) {
	python := findPython(t)
	jwksURL, list := webhookRequests(t)
	var in bytes.Buffer
	for _, r := range list {
		if err := json.NewEncoder(&in).Encode(map[string]any{"signature": r.signature, "body": r.body}); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, "-B", "-c", pythonWebhooks, jwksURL, webhookID)
	cmd.Dir, cmd.Stdin, cmd.Stderr = "../examples/python", &in, os.Stderr
	cmd.Env = append(os.Environ(), "KEYWARD_URL=http://127.0.0.1:1", "KEYWARD_API_KEY=none")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	checkAnswers(t, list, string(out))
}

// javaWebhooks reads deliveries, a line of signature and body in base64 each, and says of each
// whether verifyDelivery of docs/integrating.md accepts it.
const javaWebhooks = `
import java.util.Base64;
import java.util.Scanner;

final class Deliveries {
  public static void main(String[] args) throws Exception {
    Program.Keys platform = new Program.Keys(args[0]);
    for (Scanner in = new Scanner(System.in); in.hasNextLine();) {
      String[] request = in.nextLine().split(" ", -1);
      try {
        Program.verifyDelivery(platform, args[1], request[0].isEmpty() ? null : request[0], Base64.getDecoder().decode(request[1]));
        System.out.println("accepted");
      } catch (Exception e) {
        System.out.println("refused");
      }
    }
  }
}
`

// TestJavaWebhookVerifier runs verifyDelivery of docs/integrating.md, which leaves
// repetitions to its caller. The JDK is all it needs.
func TestJavaWebhookVerifier(t *testing.T) {
	needJDK(t)
	source, dir := filepath.Join(t.TempDir(), "Deliveries.java"), t.TempDir()
	if err := os.WriteFile(source, []byte(javaWebhooks), 0o644); err != nil {
		t.Fatal(err)
	}
	runQuietly(t, ".", "javac", "-d", dir, "../examples/java/Program.java", source)
	jwksURL, list := webhookRequests(t)
	var in bytes.Buffer
	for _, r := range list {
		fmt.Fprintf(&in, "%s %s\n", r.signature, base64.StdEncoding.EncodeToString(r.body))
	}
	cmd := exec.CommandContext(t.Context(), "java", "-cp", dir, "Deliveries", jwksURL, webhookID)
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	cmd.Env = append(os.Environ(), "KEYWARD_URL=http://127.0.0.1:1", "KEYWARD_API_KEY=none")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	checkAnswers(t, list, string(out))
}

// checkAnswers compares a verifier's answers, one for each delivery, with what is genuine.
func checkAnswers(t *testing.T, list []webhookRequest, out string) {
	t.Helper()
	answers := strings.Fields(out)
	if len(answers) != len(list) {
		t.Fatalf("%d answers to %d deliveries", len(answers), len(list))
	}
	for i, r := range list {
		if accepted := answers[i] == "accepted"; accepted != r.genuine {
			t.Errorf("%s: %s", r.name, answers[i])
		}
	}
}
