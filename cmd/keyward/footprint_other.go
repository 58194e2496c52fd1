//go:build !linux

package main

// dropProgramPages does nothing: other systems have other ways to give pages back.
func dropProgramPages() {}
