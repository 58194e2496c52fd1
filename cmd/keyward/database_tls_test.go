package main

import (
	"strings"
	"testing"
)

// doctor and the start say it when PostgreSQL on another machine is not verified.
func TestUnverifiedDatabaseIsWarnedAbout(t *testing.T) {
	env := environ{"KEYWARD_DATABASE_URL": "postgres://u@db.invalid/x?sslmode=require&connect_timeout=1", "KEYWARD_MASTER_KEY": "file:nothing", "KEYWARD_START_WAIT": "0s"}
	keyward(t, env, "doctor").want(t, exitFailed, "WARN  database TLS", "KEYWARD_DATABASE_URL", "db.invalid", "verify-full")
	keyward(t, env, "serve", "--addr=127.0.0.1:0").want(t, exitFailed, "certificate is not verified", "db.invalid")
	env["KEYWARD_DATABASE_URL"] = "postgres://u@db.invalid/x?sslmode=verify-full&connect_timeout=1"
	if r := keyward(t, env, "doctor"); r.code != exitFailed || len(r.stdout) == 0 || strings.Contains(r.stdout, "database TLS") {
		t.Errorf("with verify-full: %+v", r)
	}
}
