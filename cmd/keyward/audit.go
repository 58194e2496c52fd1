package main

// auditCmd is what can be asked of the history.
type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check a hash chain from an export, without a server."`
}
