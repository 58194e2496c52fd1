package main

import (
	"encoding/json"
	"maps"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/client"
)

// twoPeople returns the environments of two platform admins, for a tenant acme
// that requires approval of every operation.
func twoPeople(t *testing.T) (first, second environ, databaseURL string) {
	t.Helper()
	env := deployed(t)
	first = servedOn(t, env)
	second = maps.Clone(first)
	second["KEYWARD_API_KEY"] = ok(t, env, "api-key", "create", "--role=platform_admin", "--name=Bob")
	ok(t, first, "tenant", "update", "acme", "--approval-required=revoke_all,import", "--approval-required=purge,delete")
	return first, second, env["KEYWARD_DATABASE_URL"]
}

// waits runs a command that needs an approval, and returns the printed commands
// of the second person and of the requester.
func waits(t *testing.T, env environ, args ...string) (a client.Approval, theirs, again []string) {
	t.Helper()
	r := keyward(t, env, append(args, "--json")...)
	r.want(t, exitFailed, "Nothing was changed yet", "acme", "A second person")
	unmarshal(t, []byte(r.stdout), &a)
	if a.Status != client.ApprovalStatusPending || strings.Contains(r.stdout, "Nothing was changed yet") {
		t.Fatalf("%s", r.stdout)
	}
	lines := regexp.MustCompile("(?m)^  keyward (.*)$").FindAllStringSubmatch(r.stderr, -1)
	if len(lines) != 2 {
		t.Fatalf("what shall be run?\n%s", r.stderr)
	}
	return a, shellWords(t, lines[0][1]), shellWords(t, lines[1][1])
}

// shellWords splits a line with a shell.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `printf '%s\n' `+line).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// Each operation is requested, refused to its requester, approved by another
// person, and executed once, with the printed commands.
func TestSecondPerson(t *testing.T) {
	first, second, _ := twoPeople(t)
	private, public, _, set := onDisk(t, newKey(t), "mine")
	keyward(t, first, "tenant", "show", "acme").want(t, exitOK, "approval required", "revoke_all, import, purge, delete")
	first["KEYWARD_TENANT"], second["KEYWARD_TENANT"] = "acme", "acme"
	ok(t, first, "key", "rotate", "--yes")
	deprecated := okJSON[client.KeyList](t, first, "key", "list", "--state=deprecated").Items[0].KID
	ok(t, first, "key", "revoke", "--reason=superseded", "--yes", "--", deprecated)
	for _, c := range []struct {
		operation client.ApprovalOperation
		args      []string
		foretold  string
		done      string
	}{
		{"import", []string{"key", "import", "--pem=" + private, "--alg=EdDSA", "--kid=-a"}, "One or more keys will be imported into acme", "-a (EdDSA) is standby."},
		{"import", []string{"key", "import", "--pem=" + public, "--alg=EdDSA", "--kid=b", "--keep-for=1h"}, "One or more keys", "b (EdDSA) is deprecated until "},
		{"import", []string{"key", "import", "--jwks=" + set}, "One or more keys", "mine-2 (EdDSA) is deprecated until "},
		{"purge", []string{"key", "purge", "--yes"}, "The public parts of 2 keys will be purged", "2 keys purged."},
		{"revoke_all", []string{"key", "revoke-all", "--reason=compromised", "--comment=it's a \"drill\"", "--yes"}, "leave the JWKS at once", "keys revoked."},
		{"relax", []string{"tenant", "update", "acme", "--approval-required=delete", "--name=A & B"}, "no longer need an approval: revoke_all, import, purge, delete", "A & B"},
		{"delete", []string{"tenant", "delete", "--yes"}, "will be deleted permanently", "acme is deleted"},
	} {
		before := ok(t, first, "key", "list", "--json") + ok(t, first, "tenant", "list", "--json")
		a, theirs, again := waits(t, first, c.args...)
		if a.Operation != c.operation {
			t.Errorf("%v: %s", c.args, a.Operation)
		}
		if c.operation != "import" && c.operation != "relax" {
			again = append(again, "--yes")
		}
		id := a.ID.String()
		keyward(t, first, again...).want(t, exitFailed, "The approval is pending", "keyward approval show --tenant acme "+id)
		keyward(t, first, append(theirs, "--yes")...).want(t, exitFailed, "You requested this approval", "403")
		keyward(t, second, theirs...).want(t, exitUsage, id, c.foretold, "Keyward stores the operation and a digest", "nothing was changed: give --yes")
		keyward(t, second, append(theirs, "--yes")...).want(t, exitOK, "approved", "decided by", "Bob (api_key ")
		keyward(t, second, append(theirs, "--yes")...).want(t, exitFailed, "The approval is approved", "409")
		keyward(t, second, theirs...).want(t, exitFailed, "the approval is approved: there is nothing to decide")
		keyward(t, second, again...).want(t, exitFailed, "Another caller requested this approval", "403")
		if after := ok(t, first, "key", "list", "--json") + ok(t, first, "tenant", "list", "--json"); after != before {
			t.Errorf("%v: something was changed:\n%s\n%s", c.args, before, after)
		}
		keyward(t, first, again...).want(t, exitOK, c.done)
		if c.operation != "delete" {
			switch {
			case c.operation == "relax": // which removes nothing from the list a second time
			case c.operation == "import": // a repetition finds it done
				keyward(t, first, again...).want(t, exitOK, "it is there already", "Nothing to do")
			default:
				keyward(t, first, again...).want(t, exitFailed, "The approval is used", "without --approval")
			}
			keyward(t, first, "approval", "show", id).want(t, exitOK, string(c.operation), "used", "asked by", "decided by")
		}
	}
}

// The status of an approval is printed, and an approval is refused for other
// requests.
func TestApprovals(t *testing.T) {
	first, second, databaseURL := twoPeople(t)
	first["KEYWARD_TENANT"], second["KEYWARD_TENANT"] = "acme", "acme"
	keyward(t, first, "approval", "list").want(t, exitOK, "No matching approvals.")
	rejected, _, again := waits(t, first, "key", "purge")
	if r := keyward(t, first, again...); r.stdout != "" || r.code != exitFailed {
		t.Errorf("%+v", r)
	}
	keyward(t, first, "approval", "reject", rejected.ID.String()).want(t, exitFailed, "You requested this approval")
	if a := okJSON[client.Approval](t, second, "approval", "reject", rejected.ID.String()); a.Status != client.ApprovalStatusRejected || a.DecidedBy.Name != "Bob" {
		t.Errorf("%+v", a)
	}
	keyward(t, first, again...).want(t, exitFailed, "The approval is rejected", "409")

	other, theirs, _ := waits(t, first, "key", "revoke-all", "--reason=compromised", "--yes")
	if a := okJSON[client.Approval](t, second, append(theirs, "--yes")...); a.ID != other.ID || a.Status != client.ApprovalStatusApproved {
		t.Errorf("%+v", a)
	}
	keyward(t, first, "key", "revoke-all", "--reason=unspecified", "--yes", "--approval="+other.ID.String()).want(t, exitFailed, "for another request", "409", "keyward approval show")

	expired, theirs, again := waits(t, first, "key", "purge")
	anHourLate(t, databaseURL, expired)
	keyward(t, second, append(theirs, "--yes")...).want(t, exitFailed, "The approval is expired", "409")
	keyward(t, second, theirs...).want(t, exitFailed, "the approval is expired")
	keyward(t, first, again...).want(t, exitFailed, "The approval is expired", "without --approval requests a new one")

	unknown := "00000000-0000-7000-8000-000000000000"
	keyward(t, first, "key", "purge", "--approval="+unknown).want(t, exitFailed, "There is no such approval", "without --approval requests a new one")
	keyward(t, first, "approval", "show", unknown).want(t, exitFailed, "There is no such approval", "404")
	keyward(t, first, "approval", "approve", "--yes", unknown).want(t, exitFailed, "There is no such approval", "404")
	keyward(t, first, "key", "purge", "--approval=x").want(t, exitUsage, "--approval", "UUID")
	keyward(t, first, "approval", "list", "--status=nice").want(t, exitUsage, "--status", "pending")
	keyward(t, first, "tenant", "update", "acme", "--approval-required=sign").want(t, exitUsage, "--approval-required", "revoke_all")

	keyward(t, first, "approval", "list").want(t, exitOK, "ASKED BY", rejected.ID.String(), other.ID.String(), expired.ID.String())
	type list struct {
		Items []client.Approval
		Next  *string `json:"next_cursor"`
	}
	for status, want := range map[string]int{"pending": 0, "approved": 1, "rejected": 1, "used": 0, "expired": 1} {
		if l := okJSON[list](t, first, "approval", "list", "--status="+status); len(l.Items) != want {
			t.Errorf("%s: %d, want %d", status, len(l.Items), want)
		}
	}
	page := okJSON[list](t, first, "approval", "list", "--limit=2")
	if len(page.Items) != 2 || page.Next == nil || len(okJSON[list](t, first, "approval", "list", "--cursor="+*page.Next).Items) != 1 {
		t.Errorf("%+v", page)
	}
}

// anHourLate moves an approval into the past, which the API does not allow.
func anHourLate(t *testing.T, databaseURL string, a client.Approval) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "SET session_replication_role = replica"); err != nil {
		t.Fatal(err)
	}
	got, err := conn.Exec(t.Context(), "UPDATE approvals SET created_at = created_at - interval '25 hours', expires_at = expires_at - interval '25 hours' WHERE id = $1", a.ID)
	if err != nil || got.RowsAffected() != 1 {
		t.Fatalf("%v, %v", got, err)
	}
}

// A tenant can require approvals from its creation on.
func TestApprovalRequired(t *testing.T) {
	env := served(t)
	made := okJSON[client.Tenant](t, env, "tenant", "create", "globex", "--approval-required=purge,delete")
	if text, err := json.Marshal(made.ApprovalRequired); err != nil || string(text) != `["purge","delete"]` {
		t.Errorf("%s, %v", text, err)
	}
	keyward(t, env, "tenant", "update", "globex", "--clear=approval-required").want(t, exitFailed, "a second person's approval (relax)", `--body '{"approval_required":null}'`)
	keyward(t, env, "tenant", "update", "globex", "--clear=approval-required", "--approval-required=purge").want(t, exitUsage, "contradict")
	keyward(t, env, "tenant", "update", "globex", "--approval-required=purge,delete,import").want(t, exitOK, "import, purge, delete")
}

// An import of many keys does not request many approvals.
func TestImportFromWithApproval(t *testing.T) {
	first, _, _ := twoPeople(t)
	_, _, _, set := onDisk(t, newKey(t), "old")
	before := ok(t, first, "key", "list", "--tenant=acme", "--json")
	move := []string{"import-from", "hydra", set, "--tenant=acme"}
	keyward(t, first, append(move, "--dry-run")...).want(t, exitFailed, "old-1", "Nothing was changed (--dry-run)", "requires an approval for every import")
	keyward(t, first, append(move, "--yes")...).want(t, exitFailed, "requires an approval for every import, and these are 2", "keyward tenant update acme '--approval-required=revoke_all,purge,delete'")
	if ok(t, first, "key", "list", "--tenant=acme", "--json") != before || len(okJSON[client.ApprovalList](t, first, "approval", "list", "--tenant=acme").Items) > 0 {
		t.Error("something was changed")
	}
}

// What a request would change is told field by field, with what is not set as none.
func TestChangeText(t *testing.T) {
	for _, c := range []struct {
		change client.ApprovalChange
		want   string
	}{
		{client.ApprovalChange{Field: "grace_period_seconds", Alg: new("ES256"), Before: json.RawMessage("604800"), After: json.RawMessage("86400")}, "ES256 grace_period_seconds: 604800 to 86400"},
		{client.ApprovalChange{Field: "custom_domain", After: json.RawMessage(`"id.example.com"`)}, `custom_domain: none to "id.example.com"`},
		{client.ApprovalChange{Field: "metadata", TooLong: new(true)}, "metadata: a value that is too long to be shown"},
	} {
		if got := changeText(c.change); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
