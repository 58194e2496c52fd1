package audit

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// CSVColumns is the header row of an export as CSV.
var CSVColumns = []string{
	"seq", "at", "tenant", "tenant_id", "action", "actor_type", "actor_id", "actor_name", "kid", "from_state", "to_state", "reason",
	"request_id", "details", "prev_hash", "hash",
}

// CSVRow returns an event as a row under CSVColumns. Absent values are empty,
// details are the JSON text as stored. Actors, reasons and kids of other systems are
// chosen by others and could hold a spreadsheet formula, so they are escaped. No other
// column can: request ids have no operator, and details begin with a brace.
func CSVRow(e Event) []string {
	return []string{
		strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(time.RFC3339Nano), e.Tenant, e.TenantID.String(), string(e.Action),
		string(e.Actor.Type), escapeFormula(e.Actor.ID), escapeFormula(e.Actor.Name), escapeKID(e.KID), e.FromState, e.ToState, escapeFormula(e.Reason),
		e.RequestID, string(e.Details), hex.EncodeToString(e.PrevHash), hex.EncodeToString(e.Hash),
	}
}

// escapeKID leaves kids in the alphabet of thumbprints as they are: one that begins with
// a hyphen is no formula, and exports are searched for it.
func escapeKID(kid string) string {
	if strings.Trim(kid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == "" {
		return kid
	}
	return escapeFormula(kid)
}

// escapeFormula puts an apostrophe before a text that a spreadsheet would run as
// a formula, and before a text that begins with an apostrophe, so that removing
// one apostrophe always restores the text.
func escapeFormula(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n'", rune(s[0])) {
		return "'" + s
	}
	return s
}
