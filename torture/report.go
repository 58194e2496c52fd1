package main

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report writes the results as Markdown.
func (c *campaign) report() string {
	r := c.record
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "# What Keyward does under faults\n\n")
	fmt.Fprintf(&b, "Written by `make torture` (torture/README.md says how to read it): seed %d, %v of faults, %d replicas, %d workers, %s, all on one machine with %d cores and a load average of %s, %s.\n\n",
		c.options.seed, c.options.duration, replicaCount, workerCount, c.servers(), runtime.NumCPU(), machineLoad(), time.Now().UTC().Format("2006-01-02 15:04"))
	fmt.Fprintf(&b, "**%s**\n\n", r.verdict())
	r.writePromises(&b)
	r.writeFaults(&b)
	r.writeOperations(&b)
	r.writeInvariants(&b)
	r.writeMeasured(&b)
	r.writeFindings(&b)
	return b.String()
}

// servers says what the database is made of.
func (c *campaign) servers() string {
	list := "one PostgreSQL"
	if c.standby != nil {
		list += " with a streaming standby"
	}
	if c.pooler != nil {
		list += ", PgBouncer"
	}
	return list
}

// verdict is the result in a sentence.
func (r *record) verdict() string {
	lost := "Nothing lost."
	if f := r.findings[nothingLost]; f != nil {
		lost = fmt.Sprintf("LOST: %d acknowledged changes.", f.count)
	}
	if len(r.findings) == 0 {
		return lost + " Every promise was kept."
	}
	return fmt.Sprintf("%s %d of %d promises were broken.", lost, len(r.findings), len(promises))
}

func (r *record) writePromises(b *strings.Builder) {
	b.WriteString("| promise | checked | broken |\n| --- | ---: | ---: |\n")
	for _, p := range promises {
		broken := "0"
		if f := r.findings[p]; f != nil {
			broken = fmt.Sprintf("**%d**", f.count)
		}
		checked := fmt.Sprint(r.checked[p])
		if r.checked[p] == 0 && r.findings[p] == nil && !countedElsewhere(p) {
			checked, broken = "not checked", "-"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", escape(p), checked, broken)
	}
	b.WriteString("\n")
}

// countedElsewhere are promises that are watched all the time.
func countedElsewhere(p string) bool { return p == staysAlive }

func (r *record) writeFaults(b *strings.Builder) {
	type sum struct {
		times     int
		recovered time.Duration
	}
	sums := map[string]sum{}
	for _, run := range r.runs {
		name := run.name + " (" + strings.TrimRight(run.target, "-0123456789") + ")"
		s := sums[name]
		sums[name] = sum{s.times + 1, max(s.recovered, run.recovered)}
	}
	fmt.Fprintf(b, "## Faults\n\n%d injected.\n\n| fault | times | all replicas served again after, at most |\n| --- | ---: | ---: |\n", len(r.runs))
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(b, "| %s | %d | %s |\n", escape(name), sums[name].times, seconds(sums[name].recovered))
	}
	b.WriteString("\n")
}

func (r *record) writeOperations(b *strings.Builder) {
	b.WriteString("## Operations\n\nThe longest wait leaves out requests to a process that was dead or stopped meanwhile.\n\n")
	b.WriteString("| operation | acknowledged | refused (4xx) | 503 | no answer | longest wait | during |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |\n")
	for _, kind := range slices.Sorted(maps.Keys(r.ops)) {
		o := r.ops[kind]
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %s | %s |\n", kind, o.acknowledged, o.refused, o.unavailable, o.unanswered, seconds(o.longest), escape(o.longestWhile))
	}
	b.WriteString("\n")
}

func (r *record) writeInvariants(b *strings.Builder) {
	b.WriteString("## Invariants\n\nAsked of the tables as a superuser after every fault.\n\n| invariant | checked |\n| --- | ---: |\n")
	for _, i := range invariants {
		fmt.Fprintf(b, "| %s | %d |\n", escape(i.name), r.checked[i.name])
	}
	b.WriteString("\n")
}

func (r *record) writeMeasured(b *strings.Builder) {
	b.WriteString("## Measured, not judged\n\n| what | | during |\n| --- | ---: | --- |\n")
	for _, what := range slices.Sorted(maps.Keys(r.measured)) {
		fmt.Fprintf(b, "| %s | %s | %s |\n", escape(what), seconds(r.measured[what]), escape(r.while[what]))
	}
	b.WriteString("\n")
	for _, note := range r.notes {
		fmt.Fprintf(b, "- %s\n", note)
	}
	b.WriteString("\n")
}

func (r *record) writeFindings(b *strings.Builder) {
	if len(r.findings) == 0 {
		return
	}
	fmt.Fprintf(b, "## Broken promises\n\nTimes count from the beginning of the campaign, %s UTC. At most %d examples each; behind a cause, how often.\n\n", r.began.UTC().Format("15:04:05"), samplesKept)
	for _, p := range promises {
		f := r.findings[p]
		if f == nil {
			continue
		}
		fmt.Fprintf(b, "**%s**: %d times; %s\n\n", p, f.count, strings.Join(mostCommon(f.causes, 6), ", "))
		for _, sample := range f.samples {
			fmt.Fprintf(b, "- %s\n", strings.ReplaceAll(sample, "\n", " "))
		}
		b.WriteString("\n")
	}
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// mostCommon lists the keys with the highest counts.
func mostCommon(counts map[string]int, n int) []string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var list []string
	for _, name := range names[:min(n, len(names))] {
		list = append(list, fmt.Sprintf("%s (%d)", name, counts[name]))
	}
	return list
}
