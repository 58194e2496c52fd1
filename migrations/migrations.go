// Package migrations embeds the schema: goose SQL files, forward only. It is
// internal to Keyward: no compatibility promise.
//
// A migration is never edited once it is in released.sha256; the next one
// corrects it. Each expands or contracts: it adds tables, columns and rules that
// the previous program tolerates, or removes those that the previous program no
// longer uses, so that the programs before and after it run on one schema during
// an upgrade. Each runs in one transaction as keyward_owner, the owner of every
// table, and under a fixed search_path: it names tables, types and functions of
// ours with their schema, public.
package migrations

import "embed"

// FS contains the migrations in the order of their numbers.
//
//go:embed *.sql
var FS embed.FS
