// Package migrations embeds the schema: goose SQL files, forward only.
//
// A migration is never edited once it has been released; the next one mends
// it. Each runs in one transaction as keyward_owner, who owns every table.
package migrations

import "embed"

// FS holds the migrations in the order of their numbers.
//
//go:embed *.sql
var FS embed.FS
