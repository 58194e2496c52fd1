package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

const (
	chartWidth, chartHeight = 760.0, 300.0
	chartLeft, chartRight   = 56.0, 150.0 // the names stand on the right
	chartTop, chartBottom   = 36.0, 40.0
)

// Colours that differ in lightness too, readable on white and on black.
var chartColours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a7a7a", "#8a63d2"}

// frame maps values to places in the picture.
type frame struct {
	length time.Duration // of the x-axis
	top    float64       // of the y-axis, which begins at 0
}

func (f frame) x(after time.Duration) float64 {
	return chartLeft + after.Seconds()/f.length.Seconds()*(chartWidth-chartLeft-chartRight)
}

func (f frame) y(value float64) float64 {
	return chartHeight - chartBottom - value/f.top*(chartHeight-chartTop-chartBottom)
}

// svg draws the chart as an SVG picture that reads on light and on dark ground, with faults
// as grey bands.
func (c *chart) svg(faults [][2]time.Duration) string {
	f := frame{length: time.Second}
	for _, s := range c.lines {
		for _, p := range s.points {
			f.length, f.top = max(f.length, p.after), max(f.top, p.value)
		}
	}
	step := niceStep(f.top / 4)
	f.top = max(step, math.Ceil(f.top/step)*step)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="system-ui, sans-serif" font-size="12">
<style>
text { fill: #1f2328 } .grid { stroke: #d0d7de } .ground { fill: #ffffff } .fault { fill: #8c959f; opacity: .25 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #3d444d } .ground { fill: #0d1117 } }
</style>
<rect class="ground" width="100%%" height="100%%"/>
<text x="%.0f" y="20" font-size="14" font-weight="600">%s</text>
`, chartWidth, chartHeight, chartLeft, c.title)
	for _, span := range faults {
		from, to := max(span[0], 0), min(span[1], f.length)
		if to > from {
			fmt.Fprintf(&b, `<rect class="fault" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`+"\n", f.x(from), chartTop, max(f.x(to)-f.x(from), 0.5), chartHeight-chartTop-chartBottom)
		}
	}
	f.grid(&b, step, c.unit)
	for i, s := range c.sorted() {
		f.line(&b, s, chartColours[i%len(chartColours)], chartTop+10+17*float64(i))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// niceStep rounds up to 1, 2 or 5 times a power of ten.
func niceStep(least float64) float64 {
	if least <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, times := range []float64{1, 2, 5} {
		if times*power >= least*(1-1e-9) {
			return times * power
		}
	}
	return 10 * power
}

func (f frame) grid(b *strings.Builder, step float64, unit string) {
	right, bottom := chartWidth-chartRight, chartHeight-chartBottom
	for v := 0.0; v <= f.top*(1+1e-9); v += step {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n",
			chartLeft, f.y(v), right, f.y(v), chartLeft-6, f.y(v)+4, strings.TrimSpace(fmt.Sprintf("%.6g %s", v, unit)))
	}
	minutes := niceStep(f.length.Minutes() / 8)
	for m := 0.0; m <= f.length.Minutes(); m += minutes {
		x := f.x(time.Duration(m * float64(time.Minute)))
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="middle">%.6g min</text>`+"\n",
			x, chartTop, x, bottom, x, bottom+16, m)
	}
}

// line draws one line, with its name on the right.
func (f frame) line(b *strings.Builder, s *series, colour string, nameAt float64) {
	places := make([]string, len(s.points))
	for i, p := range s.points {
		places[i] = fmt.Sprintf("%.1f,%.1f", f.x(p.after), f.y(p.value))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(places, " "), colour)
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="10" height="10" rx="2" fill="%s"/><text x="%.1f" y="%.1f">%s</text>`+"\n",
		chartWidth-chartRight+12, nameAt-9, colour, chartWidth-chartRight+28, nameAt, s.name)
}
