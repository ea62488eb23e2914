// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"slices"
	"strings"
	"testing"
)

// answer is what a model mostly writes.
const answer = `To speed up the build, you can do three things. First, cache the modules between runs: the step that downloads them takes about 40 seconds, ` +
	`and it does the same work each time. Second, run the tests of packages that changed and of those that import them; for that, list the packages and ` +
	"filter what you do not need:\n\n```go\nfunc changed(files []string) (out []string) {\n\tfor _, f := range files {\n\t\tif strings.HasSuffix(f, \".go\") {\n\t\t\tout = append(out, " +
	"filepath.Dir(f))\n\t\t}\n\t}\n\tslices.Sort(out)\n\treturn slices.Compact(out)\n}\n```\n\nThird, split the slow test (`TestReplay`, 95 s on two cores) so that its parts run side by side. " +
	`I would not raise the number of workers above 8: memory is what limits you here, not time. As the documentation of version 1.24 says, "tests that share a fixture are best kept ` +
	`in one package". The French and the German team saw the same in March. If this is not enough, tell me how long each step takes, and I'll look at what is left.` + "\n\n"

// tokens cuts a text about as models do: a word with the space before it, or a few other characters.
func tokens(text string) (out [][]byte) {
	for len(text) > 0 {
		n := 1
		for n < len(text) && n < 8 && text[n] != ' ' && (text[n]|0x20 >= 'a' && text[n]|0x20 <= 'z') == (text[n-1]|0x20 >= 'a' && text[n-1]|0x20 <= 'z' || text[n-1] == ' ') {
			n++
		}
		out = append(out, []byte(text[:n]))
		text = text[n:]
	}
	return out
}

// TestHeldIsLittle: of an ordinary answer that comes token by token, little is held back.
func TestHeldIsLittle(t *testing.T) {
	for _, c := range []struct {
		name     string
		names    bool
		p50, p99 int
	}{{"rules", false, 4, 64}, {"with names", true, 6, 64}} { // the names stage waits for the end of a word
		e, err := New(Options{Names: c.names})
		if err != nil {
			t.Fatal(err)
		}
		r := e.Stream("text", StreamOptions{})
		var held []int
		for _, p := range tokens(strings.Repeat(answer, 20)) {
			if _, err := r.Write(nil, p); err != nil {
				t.Fatal(err)
			}
			held = append(held, r.Held())
		}
		r.Release()
		slices.Sort(held)
		p50, p99 := held[len(held)/2], held[len(held)*99/100]
		t.Logf("%s: held after a token: p50 %d, p90 %d, p99 %d, most %d bytes", c.name, p50, held[len(held)*9/10], p99, held[len(held)-1])
		if p50 > c.p50 || p99 > c.p99 {
			t.Errorf("%s: p50 %d, p99 %d: at most %d and %d are wanted", c.name, p50, p99, c.p50, c.p99)
		}
	}
}
