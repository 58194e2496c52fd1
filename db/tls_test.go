package db_test

import (
	"slices"
	"testing"

	"github.com/keyward/keyward/db"
)

func TestUnverifiedHosts(t *testing.T) {
	for url, want := range map[string][]string{
		"postgres://u@db.example/x":                          {"db.example"},
		"postgres://u@db.example/x?sslmode=disable":          {"db.example"},
		"postgres://u@db.example/x?sslmode=prefer":           {"db.example"},
		"postgres://u@db.example/x?sslmode=require":          {"db.example"},
		"postgres://u@db.example/x?sslmode=verify-ca":        {"db.example"},
		"postgres://u@db.example/x?sslmode=verify-full":      nil,
		"postgres://u@a.example,b.example/x?sslmode=require": {"a.example", "b.example"},
		"postgres://u@a.example,127.0.0.1/x?sslmode=disable": {"a.example"},
		"postgres://u@192.0.2.1/x":                           {"192.0.2.1"},
		"postgres://u@127.0.0.1/x?sslmode=disable":           nil,
		"postgres://u@[::1]/x?sslmode=disable":               nil,
		"postgres://u@localhost/x":                           nil,
		"postgres:///x?host=/var/run/postgresql":             nil,
		"host=/var/run/postgresql dbname=x":                  nil,
		"host=db.example dbname=x sslmode=require":           {"db.example"},
	} {
		got, err := db.UnverifiedHosts(url)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", url, got, err, want)
		}
	}
}
