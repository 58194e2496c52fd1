package db_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
)

// statement is one of queries/, as it is sent.
type statement struct{ name, sql string }

var generated = regexp.MustCompile("(?s)const \\w+ = `-- name: (\\w+) :\\w+\n(.*?)`")

// statements are all of queries/.
func statements(t *testing.T) (all []statement) {
	t.Helper()
	files, err := filepath.Glob("*.sql.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range generated.FindAllStringSubmatch(string(text), -1) {
			all = append(all, statement{m[1], m[2]})
		}
	}
	if len(all) < 90 {
		t.Fatalf("only %d statements were found", len(all))
	}
	return all
}

// carries finds the tenant in a statement: a database that is distributed by
// it sends the statement to one place.
var carries = regexp.MustCompile(`(?s)tenant_id (=|IS NOT DISTINCT FROM) (\$\d|gone\.tenant_id|ANY \(\$\d|m\.tenant_id|keyward_tenant\(\))` +
	`|(FROM|UPDATE) tenants\s.*WHERE (t\.)?id = (\$\d|ANY \(\$\d)|tenants\.id = m\.tenant_id` +
	`|a\.tenant_id = w\.tenant_id AND a\.seq > w\.place_seq|INSERT INTO (\w+ \(tenant_id|tenants \(id|api_keys \(id, tenant_id)`)

// everywhere lists the statements that cannot carry the tenant, and why.
var everywhere = map[string][]string{
	"the tenant is what they look for":                                                               {"PublicTenantBySlug", "LiveTenantID", "GetCredential", "APIKeyMakers", "TenantOfDomain"},
	"what a credential of the platform made may be in any tenant":                                    {"APIKeyDescendants", "RevokeAPIKeysByID"},
	"names of all tenants are compared, when one changes or a workload's issuer is trusted":          {"HostsTaken", "IssuerAtHost", "IssuersOfTenants"},
	"the platform's credentials are no tenant's, and uses of credentials are flushed by their id":    {"ListPlatformAPIKeys", "TouchAPIKeys"},
	"a queue of every tenant's work, off the path of requests; a distributed worker asks each shard": {"DuePolicies", "NextDueAt", "CountDuePolicies", "CountBacklogs", "ClaimWebhooks", "NextWebhookReady", "LockAnyWebhooksBehind", "CountPendingDeliveries", "OldestDuePolicy", "OldestWaitingEvent", "OldestPendingDelivery", "DuePublications", "NextPublication", "UnpublishedTenants", "CountUnpublished"},
	"every tenant's, and only the platform may ask":                                                  {"ListTenants", "MatchTenants", "NthTenant", "SamplePieces", "FindTenants", "TenantsByAlgorithm", "NthByAlgorithm", "TenantsWithOldAlgorithms", "NthWithOldAlgorithm", "TenantsWithDuePolicies", "TenantsWithLargeSets", "NthWithLargeSet", "TenantsWithVerifiersBehind", "Fleet", "FeedOfAll", "ListAuditEventsOfAll", "ListAuditEventsOfAllAscending", "EventsOfAllBehind", "LockWebhooksOfAll", "ListWaitingApprovals", "TenantsWithPublishedKey", "TenantsToldOf", "ListAuditHeads", "StoredTransactions"},
	"a re-wrap goes through every data key, and says how far it is":                                  {"DataKeysWrappedBy", "CountStaleDataKeys", "CountWrappedDataKeys"},
	"a session of the console is found before its tenant is known": {
		"InsertConsoleSession", "GetConsoleSession", "TouchConsoleSession", "DeleteConsoleSession", "DeleteConsoleSessionsOf", "DeleteEndedConsoleSessions", "EndConsoleSessions",
		"DeleteOldestConsoleSessions",
	},
	"housekeeping":               {"ForgetIdempotencyKeys", "ForgetDeliveries", "ForgetWebhooks", "ForgetJWKSClients"},
	"doctor looks at everything": {"PoliciesWithoutKeys", "EndOfPolicies", "TenantsToCheck", "PoliciesToCheck", "APIKeysToCheck", "ApprovalsToCheck", "ConsoleSessionsToCheck", "DomainsToCheck", "WorkloadIdentitiesToCheck"},
	"the census of metrics counts everything, range by range": {"CountKeysByState", "CountPoliciesWithoutStandby"},
	"no table of tenants": {
		"FeedBounds", "PlanForFilters", "LockNames", "NotifyChanges", "InsertMasterKey", "ListMasterKeys", "LockCurrentMasterKey", "RetireMasterKey", "SupersedeMasterKey",
		"CountMasterKeys", "DatabaseClock", "LoginIsSuperuser", "UnguardedRoles", "UnguardedTables", "AcquireLease", "ReleaseLease", "RenewLease", "LeaseAge",
		"UpsertProcess", "LiveProcesses", "DeleteProcess", "DeleteGoneProcesses", "AskForConfirmation", "AnswerConfirmation", "InsertRecovery", "ListRecoveries", "DescribeDatabase", "GetLease", "PublishPlace", "SavePublishPlace",
		"CheckpointPlace", "RecordCheckpoint", "RecordCheckpointFailure",
	},
}

func isException(list map[string][]string, name string) bool {
	for _, names := range list {
		for _, n := range names {
			if n == name {
				return true
			}
		}
	}
	return false
}

// What requests and moves of keys cost does not depend on how many tenants
// there are, nor on how many machines hold them.
func TestEveryStatementCarriesItsTenant(t *testing.T) {
	for _, s := range statements(t) {
		switch carried, excepted := carries.MatchString(s.sql), isException(everywhere, s.name); {
		case !carried && !excepted:
			t.Errorf("%s does not say whose rows it is about; let it, or say above why it cannot", s.name)
		case carried && excepted:
			t.Errorf("%s carries its tenant and needs no exception", s.name)
		}
	}
}

// global are the unique indexes without the tenant.
var global = map[string]string{
	"tenants_pkey":               "id is the tenant",
	"tenants_live_slug":          "addresses are unique among all tenants",
	"tenants_live_custom_domain": "addresses are unique among all tenants",
	"tenants_live_issuer":        "issuers are unique among all tenants",
	"domains_verified":           "a host has one owner",
	"api_keys_pkey":              "a credential is looked up before its tenant is known",
	"console_sessions_pkey":      "a session is looked up before its tenant is known",
	"master_keys_pkey":           "no tenant's", "master_keys_version_once": "no tenant's", "master_keys_one_current": "no tenant's",
	"master_keys_one_first": "no tenant's", "leases_pkey": "no tenant's", "processes_pkey": "no tenant's", "recoveries_pkey": "no tenant's", "publish_places_pkey": "no tenant's", "checkpoint_places_pkey": "no tenant's", "keyward_migrations_pkey": "no tenant's",
}

// A distributed database keeps a unique index only if it contains the column
// it distributes by.
func TestEveryUniqueIndexContainsTheTenant(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, _ := conn.Query(t.Context(), `SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
		WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace
		AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = 'tenant_id' AND a.attnum = ANY (i.indkey))`)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if global[name] == "" {
			t.Errorf("%s does not contain tenant_id; let it, or say above why it cannot", strings.TrimSpace(name))
		}
	}
}
