// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
)

// printer writes the demo's story; colours only on a terminal.
type printer struct {
	f      *os.File
	colour bool
	n      int
}

func newPrinter(f *os.File) *printer {
	info, err := f.Stat()
	return &printer{f: f, colour: err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""}
}

func (p *printer) line(code, prefix, format string, args ...any) {
	text := prefix + fmt.Sprintf(format, args...)
	if p.colour && code != "" {
		text = "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	fmt.Fprintln(p.f, text)
}

func (p *printer) step(format string, args ...any) {
	p.n++
	p.line("1", fmt.Sprintf("\n%d. ", p.n), format, args...)
}
func (p *printer) say(format string, args ...any)     { p.line("", "   ", format, args...) }
func (p *printer) command(format string, args ...any) { p.line("36", "   $ ", format, args...) }
func (p *printer) output(format string, args ...any)  { p.line("2", "     ", format, args...) }
func (p *printer) good(format string, args ...any)    { p.line("32", "   ✓ ", format, args...) }
