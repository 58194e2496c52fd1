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

// CSVRow is an event as a row under CSVColumns: what is absent is empty,
// details are the JSON text as stored. Actors and reasons are texts that others
// chose; see [unformulated]. No other column can hold a formula: the alphabet of
// kids and request ids has no sign to call or refer to anything with, and
// details begin with a brace.
func CSVRow(e Event) []string {
	return []string{
		strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(time.RFC3339Nano), e.Tenant, e.TenantID.String(), string(e.Action),
		string(e.Actor.Type), unformulated(e.Actor.ID), unformulated(e.Actor.Name), e.KID, e.FromState, e.ToState, unformulated(e.Reason),
		e.RequestID, string(e.Details), hex.EncodeToString(e.PrevHash), hex.EncodeToString(e.Hash),
	}
}

// unformulated puts an apostrophe before a text that a spreadsheet would run as
// a formula, and before one that begins with an apostrophe, so that taking one
// off gives every text back.
func unformulated(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n'", rune(s[0])) {
		return "'" + s
	}
	return s
}
