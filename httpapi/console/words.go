package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
)

func init() {
	maps.Copy(formatters, map[string]any{
		"problems": func() []client.TenantProblem { return problems }, "problemWord": problemWord, "offset": offset, "bytes": bytesText, "int": func(n int64) int { return int(n) },
		"add": func(a, b any) string { return oneDecimal(number(a) + number(b)) }, "algorithms": func() []string { return algorithms },
		"isRSA": isRSA, "isPublished": isPublished, "algs": algorithmsOf, "jwks": jwksOf, "becomes": becomes, "nextWord": nextWord, "laneWord": laneWord, "actorWord": actorWord,
		"operationWord": operationWord, "operationEffect": operationEffect, "approvalWord": approvalWord, "reasonLabel": reasonLabel, "hookReason": hookReason, "concerns": concerns, "changesOf": changesOf,
		"liveWords": liveWords, "time": func(t any) time.Time { moment, _ := timeOf(t); return moment },
	})
}

func number(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case int:
		return float64(v)
	}
	return 0
}

// liveWords are the actions that a page listens for, with its announcement of each.
func liveWords() string {
	text, err := json.Marshal(actionWords)
	if err != nil {
		return "{}"
	}
	return string(text)
}

func becomes(to *client.KeyState) string {
	if to == nil {
		return "changes"
	}
	return map[client.KeyState]string{
		client.KeyStateActive: "begins to sign", client.KeyStateStandby: "is published", client.KeyStateDeprecated: "stops signing", client.KeyStateExpired: "leaves the JWKS",
		client.KeyStateRevoked: "is revoked", client.KeyStatePurged: "is purged",
	}[*to]
}

// nextWord names the next transition of a key in a state.
func nextWord(state client.KeyState) string {
	return map[client.KeyState]string{
		client.KeyStateActive: "stops signing", client.KeyStateStandby: "signs", client.KeyStateDeprecated: "leaves the JWKS", client.KeyStateExpired: "purged", client.KeyStateRevoked: "purged",
	}[state]
}

func laneWord(state string) string {
	if state == "planned" {
		return "not made yet"
	}
	return labels[state]
}

func actorWord(kind any) string {
	return map[string]string{"api_key": "API key", "oidc": "identity provider", "workload": "workload", "worker": "schedule", "operator": "shell"}[fmt.Sprint(kind)]
}

func operationWord(op any) string {
	if word, ok := map[string]string{
		"revoke": "Revoke a key", "revoke_all": "Revoke every key", "import": "Import a key", "purge": "Purge old keys", "delete": "Delete the tenant", "policy": "Change a policy",
		"api_keys": "Change API keys", "settings": "Change settings", "relax": "Ask for fewer approvals",
	}[fmt.Sprint(op)]; ok {
		return word
	}
	return fmt.Sprint(op)
}

// concern is what a request of a tenant is about: a key, or what its path names else.
type concern struct{ KID, Rest string }

// concerns reads the path of a request. Nil: it is about the tenant itself.
func concerns(path string) *concern {
	_, rest, _ := strings.Cut(strings.TrimPrefix(path, "/v1/tenants/"), "/")
	parts := strings.Split(rest, "/")
	switch {
	case len(parts) < 2 || parts[0] == "keys" && len(parts) == 2:
		return nil
	case parts[0] == "keys":
		if kid, err := url.PathUnescape(parts[1]); err == nil {
			return &concern{KID: kid}
		}
	}
	return &concern{Rest: rest}
}

func operationEffect(op any) string {
	return map[string]string{
		"revoke": "A key leaves the JWKS at once", "revoke_all": "All tokens of the tenant stop verifying", "import": "A key from outside signs or verifies here",
		"purge": "Public keys of expired and revoked keys are erased", "delete": "All keys are destroyed", "relax": "The list of operations that need a second person gets shorter",
		"api_keys": "Somebody gets in, or no longer does", "policy": "How long keys and tokens live, or which algorithm signs", "settings": "Names, caching, domains, webhooks or the data key",
	}[fmt.Sprint(op)]
}

func approvalWord(status any) string {
	if word, ok := map[string]string{
		"pending": "Waiting", "approved": "Approved", "rejected": "Rejected", "used": "Carried out", "expired": "Ended", "all": "All",
	}[fmt.Sprint(status)]; ok {
		return word
	}
	return fmt.Sprint(status)
}

func reasonLabel(reason string) string {
	return map[string]string{"compromised": "It may have leaked (compromised)", "superseded": "It is replaced (superseded)", "unspecified": "Another reason (unspecified)"}[reason]
}

func hookReason(reason any) string {
	if r, ok := reason.(*client.WebhookDisabledReason); ok && r != nil {
		return map[string]string{"requested": "by request", "gone": "the receiver answered 410", "failing": "no delivery succeeded for three days"}[string(*r)]
	}
	return ""
}

// algorithmsOf returns all algorithms of a key.
func algorithmsOf(k client.Key) string {
	if len(k.Algs) == 0 {
		return string(k.Alg)
	}
	names := make([]string, len(k.Algs))
	for i, alg := range k.Algs {
		names[i] = string(alg)
	}
	return strings.Join(names, ", ")
}

// offset is how far a clock is off, in words.
func offset(d time.Duration) string {
	switch {
	case d.Abs() < 10*time.Millisecond:
		return "agrees"
	case d > 0:
		return shortTime(d) + " ahead"
	}
	return shortTime(-d) + " behind"
}

// bytesText is a size in words.
func bytesText(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB"}
	size, i := float64(n), 0
	for ; size >= 1000 && i < len(units)-1; i++ {
		size /= 1000
	}
	return fmt.Sprintf("%.4g %s", size, units[i])
}

func shortTime(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return duration(d)
}

func problemWord(p client.TenantProblem) string {
	return map[client.TenantProblem]string{
		client.TenantProblemNoStandby: "No standby key", client.TenantProblemOverdue: "Overdue", client.TenantProblemSuspended: "Suspended",
		client.TenantProblemVerifiersBehind: "Verifiers behind", client.TenantProblemLargeSet: "Large set", client.TenantProblemOldAlgorithm: "Old algorithm",
	}[p]
}
