package tenant

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Errors of rows that confer authority; test with errors.Is.
var (
	// ErrForged means that a row was not written by a process with the master key.
	ErrForged = errors.New("tenant: a row that confers authority lacks a valid authentication code")
	// ErrNoAuthority means that this process has no authority key, so that it can
	// neither write nor believe such rows.
	ErrNoAuthority = errors.New("tenant: the authority key is not open")
)

// Authority authenticates rows that confer authority: credentials, workload identities,
// tenants, policies and approvals. Write access to the database is not enough to make one that is
// believed, because the key is wrapped by the master key (custody.Custody.Authority).
//
// The code of a row is a byte for the format and HMAC-SHA-256 (RFC 2104) over
//
//	field("keyward authority") ‖ field(format) ‖ field(table) ‖ field(column) ‖ …
//
//	field(x) = length of x in bytes, uint32 big-endian ‖ x
//
// so that a code is of no use in another table, tenant or row. A row that was
// written by Keyward and is put back later has a valid code: SECURITY.md says what
// that allows.
//
// A nil Authority writes rows without a code, which nobody believes, and believes
// none. It is safe for concurrent use and prints as "[redacted]".
type Authority struct {
	key *[]byte // behind a pointer, so that no verb of package fmt reaches it
	log *slog.Logger

	mu     sync.Mutex
	logged map[string]struct{} // refused rows, by table and id
}

// maxLoggedRows bounds the refused rows that are remembered, and so the log lines
// about refused rows of one process.
const maxLoggedRows = 1000

// macFormat is the version of the codes' format.
const macFormat = 1

// NewAuthority returns an Authority with a 32-byte key, which it owns. A refused row
// is logged once.
func NewAuthority(key []byte, log *slog.Logger) *Authority {
	return &Authority{key: &key, log: log, logged: map[string]struct{}{}}
}

// String returns "[redacted]".
func (a *Authority) String() string { return "[redacted]" }

// Format writes "[redacted]" for every verb.
func (a *Authority) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, a.String()) }

// LogValue returns "[redacted]".
func (a *Authority) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalJSON returns an error: the key is secret.
func (a *Authority) MarshalJSON() ([]byte, error) {
	return nil, errors.New("tenant: the authority key is secret")
}

// macRecord is the input of a code. The length of each field comes first, so that
// different rows never have the same input.
type macRecord []byte

func newMACRecord(table string) macRecord {
	return macRecord(nil).text("keyward authority").bytes([]byte{macFormat}).text(table)
}

func (r macRecord) bytes(b []byte) macRecord {
	return append(binary.BigEndian.AppendUint32(r, uint32(len(b))), b...)
}

func (r macRecord) text(s string) macRecord { return r.bytes([]byte(s)) }

func (r macRecord) number(n int64) macRecord {
	return r.bytes(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

func (r macRecord) flag(b bool) macRecord {
	if b {
		return r.number(1)
	}
	return r.number(0)
}

// time adds a time with the database's precision; nil, which is NULL, adds an empty
// field.
func (r macRecord) time(t *time.Time) macRecord {
	if t == nil {
		return r.bytes(nil)
	}
	return r.number(t.UnixMicro())
}

// optional adds a text that is never empty; nil, which is NULL, adds an empty field.
func (r macRecord) optional(s *string) macRecord { return r.text(db.ZeroIfNull(s)) }

func (r macRecord) id(id *uuid.UUID) macRecord {
	if id == nil {
		return r.bytes(nil)
	}
	return r.bytes(id[:])
}

func (r macRecord) list(texts []string) macRecord {
	r = r.number(int64(len(texts)))
	for _, s := range texts {
		r = r.text(s)
	}
	return r
}

// mac returns the code of a record; nil without a key.
func (a *Authority) mac(r macRecord) []byte {
	if a == nil {
		return nil
	}
	h := hmac.New(sha256.New, *a.key)
	h.Write(r)
	return h.Sum([]byte{macFormat})
}

// check returns nil if mac is the code of a record, else it logs the row, once.
// Errors: ErrForged, ErrNoAuthority.
func (a *Authority) check(table, id string, r macRecord, mac []byte) error {
	if a == nil {
		return ErrNoAuthority
	}
	if hmac.Equal(a.mac(r), mac) {
		return nil
	}
	if a.logOnce(table + " " + id) {
		a.log.Error("row refused: it was not written by Keyward; keyward doctor names all such rows", "table", table, "id", id)
	}
	return fmt.Errorf("%w: %s %s", ErrForged, table, id)
}

func (a *Authority) logOnce(row string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.logged[row]; known || len(a.logged) >= maxLoggedRows {
		return false
	}
	a.logged[row] = struct{}{}
	return true
}

func (r TenantRow) macRecord() macRecord {
	return newMACRecord("tenants").id(&r.ID).text(r.Slug).optional(r.Issuer).optional(r.CustomDomain).text(r.Status).
		number(int64(r.JWKSMaxAgeSeconds)).number(int64(r.JWKSStaleWhileRevalidateSeconds)).number(int64(r.JWKSStaleIfErrorSeconds)).
		number(int64(r.ClockSkewSeconds)).time(r.NotBefore).list(r.ApprovalRequired).bytes(r.Metadata).
		optional(r.JWKSPath).bytes(r.JWKSHeaders).time(&r.UpdatedAt)
}

// TenantMAC returns the code of a tenant's row: of its names, status, settings and
// list of operations that require approval.
func (a *Authority) TenantMAC(r TenantRow) []byte { return a.mac(r.macRecord()) }

// CheckTenant checks the code of a tenant's row. Errors: ErrForged, ErrNoAuthority.
func (a *Authority) CheckTenant(r TenantRow) error {
	return a.check("tenants", r.ID.String(), r.macRecord(), r.MAC)
}

// A policy's code leaves out when it is due, which decides nothing but when the worker
// looks at it.
func (r PolicyRow) macRecord() macRecord {
	return newMACRecord("policies").id(&r.TenantID).text(r.Alg).number(int64(db.ZeroIfNull(r.RSABits))).
		number(int64(r.RotationIntervalSeconds)).number(int64(r.PublishLeadSeconds)).number(int64(r.GracePeriodSeconds)).
		number(int64(r.PurgeAfterSeconds)).number(int64(r.DefaultTokenTTLSeconds)).number(int64(r.MaxTokenTTLSeconds)).
		number(int64(r.MaxPublishedKeys)).number(int64(math.Float64bits(r.MinAdoption))).number(int64(r.MaxAdoptionWaitSeconds)).
		flag(r.IsDefault).time(r.RetiredAt).time(&r.UpdatedAt)
}

// PolicyMAC returns the code of a policy's row: of its durations and limits, whether it is
// the default or retired, and the time of its last change.
func (a *Authority) PolicyMAC(r PolicyRow) []byte { return a.mac(r.macRecord()) }

// CheckPolicy checks the code of a policy's row. Errors: ErrForged, ErrNoAuthority.
func (a *Authority) CheckPolicy(r PolicyRow) error {
	return a.check("policies", r.TenantID.String()+"/"+r.Alg, r.macRecord(), r.MAC)
}

// PseudonymKey returns the key by which verifiers get their pseudonyms on a day, in
// days since 1970. Every process with the same master key has the same.
func (a *Authority) PseudonymKey(day int64) (key [sha256.Size]byte) {
	if mac := a.mac(newMACRecord("jwks_clients").number(day)); mac != nil {
		copy(key[:], mac[1:])
	}
	return key
}

// SetMAC returns the code of a tenant's rendered JWK Set and its outline, which says
// what policies sign and how long tokens may live.
func (a *Authority) SetMAC(tenantID uuid.UUID, body []byte, outline string) []byte {
	return a.mac(setRecord(tenantID, body, outline))
}

// CheckSet checks the code of a rendered JWK Set. Errors: ErrForged, ErrNoAuthority.
func (a *Authority) CheckSet(tenantID uuid.UUID, body []byte, outline string, mac []byte) error {
	return a.check("tenants.jwks", tenantID.String(), setRecord(tenantID, body, outline), mac)
}

func setRecord(tenantID uuid.UUID, body []byte, outline string) macRecord {
	sum := sha256.Sum256(body)
	return newMACRecord("tenants.jwks").id(&tenantID).bytes(sum[:]).text(outline)
}

// credentialRecord is the input of an API key's code. It has no code once it is
// revoked, so that taking back the revocation makes it no credential.
func credentialRecord(k db.APIKey) macRecord {
	return newMACRecord("api_keys").id(&k.ID).id(k.TenantID).text(k.Role).text(k.Name).bytes(k.SecretHash).time(&k.CreatedAt).time(k.ExpiresAt).
		optional(k.CreatorType).optional(k.CreatorID).optional(k.CreatorName)
}

func (a *Authority) checkAPIKey(k db.APIKey) error {
	return a.check("api_keys", k.ID.String(), credentialRecord(k), k.MAC)
}

func (a *Authority) checkCredential(row db.GetCredentialRow) error {
	return a.checkAPIKey(db.APIKey{
		ID: row.ID, TenantID: row.TenantID, Role: row.Role, Name: row.Name, SecretHash: row.SecretHash, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt,
		CreatorType: row.CreatorType, CreatorID: row.CreatorID, CreatorName: row.CreatorName, MAC: row.MAC,
	})
}

// makerRecord is the input of the code of a credential's maker. It has no part of
// credentialRecord's use: it stays when the credential is revoked, since its descendants
// may live on.
func makerRecord(k db.APIKey) macRecord {
	return newMACRecord("api_keys.maker").id(&k.ID).id(k.TenantID).time(&k.CreatedAt).optional(k.CreatorType).optional(k.CreatorID).optional(k.CreatorName)
}

func (a *Authority) checkMaker(k db.APIKey) error {
	return a.check("api_keys.maker", k.ID.String(), makerRecord(k), k.MakerMAC)
}

// workloadRecord is the input of a workload identity's code. It has no code once it is
// deleted, as a revoked credential.
func workloadRecord(r db.WorkloadIdentity) macRecord {
	return newMACRecord("workload_identities").id(&r.TenantID).id(&r.ID).text(r.Name).text(r.Issuer).text(r.Audience).optional(r.JWKSURI).bytes(r.Rules).
		text(r.Role).number(int64(r.MaxTokenLifetimeSeconds)).time(&r.CreatedAt).time(r.ExpiresAt).text(r.CreatorType).text(r.CreatorID).text(r.CreatorName)
}

func (a *Authority) checkWorkload(r db.WorkloadIdentity) error {
	return a.check("workload_identities", r.TenantID.String()+"/"+r.ID.String(), workloadRecord(r), r.MAC)
}

// workloadMakerRecord is the input of the code of a workload identity's maker, which stays
// when the identity is deleted.
func workloadMakerRecord(r db.WorkloadIdentity) macRecord {
	return newMACRecord("workload_identities.maker").id(&r.TenantID).id(&r.ID).time(&r.CreatedAt).text(r.CreatorType).text(r.CreatorID).text(r.CreatorName)
}

func (a *Authority) checkWorkloadMaker(r db.WorkloadIdentity) error {
	return a.check("workload_identities.maker", r.TenantID.String()+"/"+r.ID.String(), workloadMakerRecord(r), r.MakerMAC)
}

func domainRecord(r db.Domain) macRecord {
	return newMACRecord("domains").id(&r.TenantID).text(r.Domain).text(r.Token).time(r.VerifiedAt)
}

// checkDomain checks the code of a verified domain; a claim has none, since nothing
// follows from it. Errors: ErrForged, ErrNoAuthority.
func (a *Authority) checkDomain(r db.Domain) error {
	if r.VerifiedAt == nil {
		return nil
	}
	return a.check("domains", r.TenantID.String()+"/"+r.Domain, domainRecord(r), r.MAC)
}

func recoveryRecord(epoch int64, at time.Time, operator string) macRecord {
	return newMACRecord("recoveries").number(epoch).time(&at).text(operator)
}

// CheckRecovery checks the code of a row of recoveries. The number of the last one is
// signed into JWK Sets, and verifiers that pin the platform's key refuse a smaller one
// ever after. Errors: ErrForged, ErrNoAuthority.
func (a *Authority) CheckRecovery(epoch int64, at time.Time, operator string, mac []byte) error {
	return a.check("recoveries", strconv.FormatInt(epoch, 10), recoveryRecord(epoch, at, operator), mac)
}

// sessionRecord is the input of a console session's code: all but its last use.
func sessionRecord(r db.ConsoleSession) macRecord {
	return newMACRecord("console_sessions").bytes(r.TokenHash).id(r.APIKeyID).optional(r.Subject).optional(r.SubjectName).optional(r.Role).
		id(r.OfTenant).time(&r.CreatedAt).time(&r.ExpiresAt)
}

func (a *Authority) checkSession(r db.ConsoleSession) error {
	return a.check("console_sessions", fmt.Sprintf("%x", r.TokenHash), sessionRecord(r), r.MAC)
}

// macRecord is the input of an approval's code, in each of its states. The times of its
// request are in its id: see tooLong.
func (a Approval) macRecord(tenantID uuid.UUID) macRecord {
	r := newMACRecord("approvals").id(&tenantID).id(&a.ID).text(string(a.Operation)).list(guardedColumn(a.Effects)).text(a.OperationID).text(a.Path).bytes(a.changes).bytes(a.requestHash).
		text(string(a.RequestedBy.Type)).text(a.RequestedBy.ID).text(a.RequestedBy.Name).
		text(string(a.Status)).time(a.DecidedAt).time(a.UsedAt)
	if a.DecidedBy != nil {
		r = r.text(string(a.DecidedBy.Type)).text(a.DecidedBy.ID).text(a.DecidedBy.Name)
	}
	return r
}

// approvalID returns an id (UUIDv7, RFC 9562 section 5.7) that contains the time of the
// request, in ms.
func approvalID(at time.Time) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	return id, err
}

// tooLong reports whether the approval ends later than its id, which its code covers,
// allows.
func (a Approval) tooLong() bool {
	var ms [8]byte
	copy(ms[2:], a.ID[:6])
	requested := time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:])))
	return a.ExpiresAt.After(requested.Add(ApprovalLifetime + time.Second))
}
