// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of fields into docs/search.md")

// TestDocs holds the table of docs/search.md to Fields.
func TestDocs(t *testing.T) {
	const page, begin, end = "../../docs/search.md", "<!-- fields: begin -->\n", "<!-- fields: end -->"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| field | what it is | patterns | comparisons |\n|---|---|---|---|\n")
	for _, f := range Fields() {
		yes := map[bool]string{true: "yes", false: ""}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Doc, yes[!f.Number && !f.Many], yes[f.Number])
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the marks of the table are missing")
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(raw) {
		t.Error("the table is not what Fields says: go test ./pipeline/archive -update")
	}
}
