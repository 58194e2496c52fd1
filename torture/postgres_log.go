package main

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

func (p *postgres) logFile() string {
	return filepath.Join(filepath.Dir(p.dir), cmp.Or(p.logName, "postgres.log"))
}

// deadlocks returns what the server's log says of each deadlock: the moment,
// and the statements that were caught in it.
func (p *postgres) deadlocks() []string {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return nil
	}
	var all []string
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if !strings.Contains(line, "deadlock detected") {
			continue
		}
		entry := line
		for _, more := range lines[i+1:] { // DETAIL goes on in lines that begin with a tab
			if !strings.HasPrefix(more, "\t") && !strings.Contains(more, "DETAIL:") {
				break
			}
			if _, who, found := strings.Cut(more, "Process "); found { // who waits for whom, and the first line of what each was doing
				entry += " | Process " + shorten(who, 200)
			}
		}
		all = append(all, entry)
	}
	return all
}

var errorLine = regexp.MustCompile(`(?m)^\S+ \S+ \S+ \[\d+\] (\S*) *(ERROR|FATAL|PANIC): +(.*)$`)

// errors counts the errors in the server's log by what they say, without the
// numbers and names in it.
func (p *postgres) errors() map[string]int {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return nil
	}
	counts := map[string]int{}
	for _, line := range errorLine.FindAllStringSubmatch(string(text), -1) {
		if line[1] != "torture" {
			counts[shorten(varying.ReplaceAllString(line[3], "…"), 100)]++
		}
	}
	return counts
}

var varying = regexp.MustCompile(`\d+`)
