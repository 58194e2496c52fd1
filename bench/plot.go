package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Plot is what an operation costs with more and more tenants, as an SVG picture
// with logarithmic axes that reads on light and on dark ground.
type Plot struct {
	Title string
	Lines []Line
}

// Line is one operation.
type Line struct {
	Name   string
	Points []Point
}

// Point is a cost with so many tenants.
type Point struct{ Tenants, Micros float64 }

const (
	plotWidth, plotHeight = 720.0, 420.0
	plotLeft, plotRight   = 64.0, 228.0 // what is named stands on the right
	plotTop, plotBottom   = 44.0, 48.0
)

// Eight colours that differ in lightness too, readable on white and on black.
var plotColours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a7a7a", "#8a63d2"}

// axes are powers of ten around all points.
type axes struct{ x0, x1, y0, y1 float64 }

func (p Plot) axes() axes {
	a := axes{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)}
	for _, l := range p.Lines {
		for _, q := range l.Points {
			x, y := math.Log10(q.Tenants), math.Log10(q.Micros)
			a.x0, a.x1 = min(a.x0, math.Floor(x)), max(a.x1, math.Ceil(x))
			a.y0, a.y1 = min(a.y0, math.Floor(y)), max(a.y1, math.Ceil(y))
		}
	}
	a.x1, a.y1 = max(a.x1, a.x0+1), max(a.y1, a.y0+1)
	return a
}

func (a axes) at(p Point) (x, y float64) {
	x = plotLeft + (math.Log10(p.Tenants)-a.x0)/(a.x1-a.x0)*(plotWidth-plotLeft-plotRight)
	y = plotHeight - plotBottom - (math.Log10(p.Micros)-a.y0)/(a.y1-a.y0)*(plotHeight-plotTop-plotBottom)
	return x, y
}

// WriteSVG writes the picture.
func (p Plot) WriteSVG(to io.Writer) error {
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="system-ui, sans-serif" font-size="12">
<style>
text { fill: #1f2328 } .grid { stroke: #d0d7de } .ground { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #3d444d } .ground { fill: #0d1117 } }
</style>
<rect class="ground" width="100%%" height="100%%"/>
<text x="%.0f" y="24" font-size="15" font-weight="600">%s</text>
`, plotWidth, plotHeight, plotLeft, escaped(p.Title))
	a := p.axes()
	a.grid(&s)
	for i, l := range p.Lines {
		l.draw(&s, a, plotColours[i%len(plotColours)])
	}
	p.names(&s, a)
	s.WriteString("</svg>\n")
	_, err := io.WriteString(to, s.String())
	return err
}

func (a axes) grid(s *strings.Builder) {
	bottom, right := plotHeight-plotBottom, plotWidth-plotRight
	for e := a.x0; e <= a.x1; e++ {
		x, _ := a.at(Point{math.Pow(10, e), 1})
		fmt.Fprintf(s, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n",
			x, plotTop, x, bottom, x, bottom+18, thousands(math.Pow(10, e)))
	}
	for e := a.y0; e <= a.y1; e++ {
		_, y := a.at(Point{1, math.Pow(10, e)})
		fmt.Fprintf(s, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, y, right, y, plotLeft-6, y+4, micros(math.Pow(10, e)))
	}
	fmt.Fprintf(s, `<text x="%.1f" y="%.1f" text-anchor="middle">tenants</text>`+"\n", (plotLeft+right)/2, plotHeight-10)
}

func (l Line) draw(s *strings.Builder, a axes, colour string) {
	var path []string
	for _, p := range l.Points {
		x, y := a.at(p)
		path = append(path, fmt.Sprintf("%.1f,%.1f", x, y))
		fmt.Fprintf(s, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, colour)
	}
	fmt.Fprintf(s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour)
}

// names writes each line's name beside its end, and no name over another.
func (p Plot) names(s *strings.Builder, a axes) {
	type label struct {
		name, colour string
		y            float64
	}
	var labels []label
	for i, l := range p.Lines {
		if all := l.Points; len(all) > 0 {
			_, y := a.at(all[len(all)-1])
			labels = append(labels, label{l.Name, plotColours[i%len(plotColours)], y})
		}
	}
	slices.SortFunc(labels, func(x, y label) int { return int(math.Copysign(1, x.y-y.y)) })
	for i := range labels {
		if i > 0 {
			labels[i].y = max(labels[i].y, labels[i-1].y+17)
		}
		x := plotWidth - plotRight + 14
		fmt.Fprintf(s, `<rect x="%.1f" y="%.1f" width="10" height="10" rx="2" fill="%s"/><text x="%.1f" y="%.1f">%s</text>`+"\n",
			x, labels[i].y-5, labels[i].colour, x+16, labels[i].y+4, escaped(labels[i].name))
	}
}

func escaped(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

func thousands(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%g M", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%g k", n/1e3)
	}
	return fmt.Sprint(n)
}

func micros(n float64) string {
	if n >= 1000 {
		return fmt.Sprintf("%g ms", n/1000)
	}
	return fmt.Sprintf("%g µs", n)
}
