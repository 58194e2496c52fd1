package console

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/durations"
	"github.com/keyward/keyward/internal/plural"
)

// formatters are the functions of the templates.
var formatters = template.FuncMap{
	"when": when, "at": at, "date": shortDate, "duration": duration, "seconds": secondsText, "kid": shortKID, "query": queryValue,
	"path": url.PathEscape, "deref": deref, "pretty": pretty, "dict": dict, "plural": countOf, "stateWord": stateWord, "actionWord": actionWord,
	"roleWord": roleWord, "join": strings.Join, "reasonWord": reasonWord, "list": func(v ...string) []string { return v }, "text": text, "f1": oneDecimal, "percent": percent, "stamp": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"safeQuery": safeQuery, "neg": func(d time.Duration) time.Duration { return -d }, "platformLink": func() string { return platformLink },
}

// queryValue escapes a value for the query of a link. Its type keeps the template from
// escaping it a second time.
func queryValue(v string) template.URL { return template.URL(url.QueryEscape(v)) } // #nosec G203 -- escaped here

// safeQuery is a query that url.Values has encoded, for a link.
func safeQuery(encoded string) template.URL { return template.URL(encoded) } // #nosec G203 -- encoded by its caller

func text(v any) string { return fmt.Sprint(v) }

func oneDecimal(v float64) string { return fmt.Sprintf("%.1f", v) }

// when is a time relative to now, with the exact time on hover and for screen
// readers.
func when(now time.Time, t any) template.HTML {
	moment, ok := timeOf(t)
	if !ok {
		return "—"
	}
	exact := at(moment)
	return template.HTML(`<time datetime="` + moment.UTC().Format(time.RFC3339) + `" title="` + exact + `">` + relative(now, moment) + `<span class="sr"> (` + exact + `)</span></time>`) // #nosec G203 -- made of times alone
}

func timeOf(t any) (time.Time, bool) {
	switch t := t.(type) {
	case time.Time:
		return t, !t.IsZero()
	case *time.Time:
		if t != nil {
			return *t, true
		}
	}
	return time.Time{}, false
}

// at is the exact time.
func at(t any) string {
	moment, ok := timeOf(t)
	if !ok {
		return "—"
	}
	return moment.UTC().Format("2 Jan 2006, 15:04:05 UTC")
}

func shortDate(now time.Time, t any) string {
	moment, ok := timeOf(t)
	switch {
	case !ok:
		return "—"
	case moment.UTC().Format(time.DateOnly) == now.UTC().Format(time.DateOnly):
		return moment.UTC().Format("15:04 UTC")
	case moment.Sub(now).Abs() > 300*24*time.Hour:
		return moment.UTC().Format("2 Jan 2006")
	}
	return moment.UTC().Format("2 Jan, 15:04 UTC")
}

// relative is "in 3 days", "12 minutes ago", "now".
func relative(now, t time.Time) string {
	d := t.Sub(now)
	if d.Abs() < 5*time.Second {
		return "just now"
	}
	if d < 0 {
		return duration(-d) + " ago"
	}
	return "in " + duration(d)
}

// duration is a duration in words: of one unit where that is exact enough.
func duration(d time.Duration) string {
	if d < time.Second {
		return "0 seconds"
	}
	for i, u := range durations.Units {
		n := d / u.Size
		if n == 0 {
			continue
		}
		if n >= 4 || i == len(durations.Units)-1 {
			rounded := time.Duration(math.Round(float64(d) / float64(u.Size)))
			if i > 0 && rounded*u.Size == durations.Units[i-1].Size { // 59 minutes and 40 seconds are an hour
				return plural.Count(1, durations.Units[i-1].Name)
			}
			return plural.Count(int(rounded), u.Name)
		}
		next := durations.Units[i+1]
		if rest := (d - n*u.Size) / next.Size; rest > 0 {
			return plural.Count(int(n), u.Name) + " " + plural.Count(int(rest), next.Name)
		}
		return plural.Count(int(n), u.Name)
	}
	return ""
}

// relativeTo is relative for a time that may not be known.
func relativeTo(now time.Time, t *time.Time) string {
	if t == nil {
		return "some day"
	}
	return relative(now, *t)
}

// countOf returns a number of any type with its noun.
func countOf(n any, noun string) string { return plural.Count(reflect.ValueOf(n).Int(), noun) }

// percent is a share from 0 to 1 in words, rounded down: 100 % is all.
func percent(share float64) string { return fmt.Sprintf("%d %%", int(share*100)) }

// secondsText is a setting in words, exactly.
func secondsText(n int64) string { return durations.Words(seconds(n)) }

// shortKID shortens the name of a key for reading; the whole is beside it.
func shortKID(kid string) string {
	if runes := []rune(kid); len(runes) > 14 {
		return string(runes[:8]) + "…" + string(runes[len(runes)-4:])
	}
	return kid
}

func deref(v any) any {
	switch v := v.(type) {
	case *string:
		if v != nil {
			return *v
		}
	case *int:
		if v != nil {
			return *v
		}
	case *int64:
		if v != nil {
			return *v
		}
	case *bool:
		if v != nil {
			return *v
		}
	case *client.RevocationReason:
		if v != nil {
			return string(*v)
		}
	}
	return ""
}

// pretty is JSON with line breaks.
func pretty(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return ""
	}
	return string(text)
}

// dict makes named arguments for a template.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

var stateWords = map[string]string{
	"standby": "Standby", "active": "Signing", "deprecated": "Verifying only", "expired": "Expired", "revoked": "Revoked", "purged": "Purged",
	"suspended": "Suspended",
}

func stateWord(state any) string {
	if word, ok := stateWords[fmt.Sprint(state)]; ok {
		return word
	}
	return fmt.Sprint(state)
}

var reasonWords = map[string]string{"compromised": "compromised", "superseded": "superseded", "unspecified": "no reason given"}

func reasonWord(reason any) string {
	if s, ok := reasonWords[fmt.Sprint(deref(reason))]; ok {
		return s
	}
	return fmt.Sprint(reason)
}

var roleWords = map[string]string{
	"platform_admin": "Platform administrator", "platform_auditor": "Platform auditor", "tenant_admin": "Tenant administrator",
	"tenant_signer": "Signer", "tenant_auditor": "Tenant auditor", "tenant_verifier": "Verifier",
}

func roleWord(role any) string {
	if word, ok := roleWords[fmt.Sprint(role)]; ok {
		return word
	}
	return fmt.Sprint(role)
}

var actionWords = map[string]string{
	"key.activated": "Key began to sign", "key.created": "Key created", "key.deprecated": "Key stopped signing", "key.expired": "Key left the JWKS",
	"key.revoked": "Key revoked", "key.purged": "Key purged", "key.exported": "Private key exported", "key.imported": "Key imported", "tenant.created": "Tenant created", "tenant.updated": "Settings changed",
	"tenant.suspended": "Tenant suspended", "tenant.resumed": "Tenant resumed", "tenant.deleted": "Tenant deleted", "tenant.recovered": "Recovered after a restore", "policy.created": "Policy created",
	"policy.updated": "Policy changed", "policy.retired": "Policy retired", "policy.waiting": "Rotation waits for verifiers", "data_key.created": "Data key created", "data_key.rotated": "Data key rotated",
	"data_key.rewrapped": "Data key re-wrapped", "data_key.destroyed": "Data key destroyed", "api_key.created": "API key created", "api_key.revoked": "API key revoked", "workload_identity.created": "Workload identity created", "workload_identity.deleted": "Workload identity deleted",
	"webhook.created": "Webhook created", "webhook.updated": "Webhook changed", "webhook.disabled": "Webhook disabled", "webhook.deleted": "Webhook deleted",
	"approval.requested": "Approval requested", "approval.approved": "Approval given", "approval.rejected": "Approval refused", "approval.used": "Approval used",
	"domain.claimed": "Domain claimed", "domain.verified": "Domain verified", "domain.removed": "Domain removed", "authorization.denied": "Attempt denied", "session.created": "Signed in to the console", "session.ended": "Signed out of the console",
}

func actionWord(action any) string {
	if word, ok := actionWords[fmt.Sprint(action)]; ok {
		return word
	}
	return fmt.Sprint(action)
}

// query escapes a text for a query.
func query(text string) string { return url.QueryEscape(text) }
