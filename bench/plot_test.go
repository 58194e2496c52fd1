package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func plot(b *testing.B, file string, all []*population) {
	p := Plot{Title: "Median cost by number of tenants"}
	for _, o := range operations {
		l := Line{Name: o.name}
		for _, q := range all {
			l.Points = append(l.Points, Point{float64(q.tenants), float64(q.median(o.name).Nanoseconds()) / 1000})
		}
		p.Lines = append(p.Lines, l)
	}
	var svg bytes.Buffer
	if err := p.WriteSVG(&svg); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, svg.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
}

func TestPlotIsAPictureOfItsPoints(t *testing.T) {
	p := Plot{Title: "a < b & c", Lines: []Line{
		{Name: "x", Points: []Point{{1000, 10}, {100_000, 1000}}},
		{Name: "y", Points: []Point{{1000, 20}, {10_000, 25}, {1_000_000, 30}}},
	}}
	var svg strings.Builder
	if err := p.WriteSVG(&svg); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(svg.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, is := token.(xml.StartElement); is {
			seen[start.Name.Local]++
		}
	}
	if seen["circle"] != 5 || seen["polyline"] != 2 {
		t.Errorf("%v", seen)
	}
	// Three decades wide and two high: the second point is two thirds right, on top.
	x, y := p.axes().at(Point{100_000, 1000})
	if wantX := plotLeft + (plotWidth-plotLeft-plotRight)*2/3; x != wantX || y != plotTop {
		t.Errorf("(%g, %g), want (%g, %g)", x, y, wantX, plotTop)
	}
}
