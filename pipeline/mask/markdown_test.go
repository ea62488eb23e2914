// SPDX-License-Identifier: Apache-2.0

package mask

import "testing"

// TestMarkdown: what writes Markdown has a backslash before each underscore, in keys too. All of the key is masked, however it comes, and what is no
// such escape ends it.
func TestMarkdown(t *testing.T) {
	const random = "a1B2c3D4e5F6a1B2c3D4e5F6a1B2c3D4e5F6"
	for text, want := range map[string]string{
		`use ghp\_` + random + ` now`:                                      `use [GITHUB_TOKEN] now`,
		`sk-` + `ant-api03-aB3\_dE5fG7\_hI9jK1lM3nO5pQ7rS9tU1\_vWx9\_. So`: `[ANTHROPIC_KEY]. So`,
		`sk-` + `ant-api03-aB3_dE5fG7hI9jK1lM3nO5pQ7rS9tU1vWx9\nso`:        `[ANTHROPIC_KEY]\nso`,
		`sk-` + `ant-api03-aB3_dE5fG7hI9jK1lM3nO5pQ7rS9tU1vWx9\\_x`:        `[ANTHROPIC_KEY]\\_x`,
		`sk-` + `ant-api03-aB3_dE5fG7hI9jK1lM3nO5pQ7rS9tU1vWx9\`:           `[ANTHROPIC_KEY]\`,
		`snake\_case\_names\_that\_are\_long\_and\_plain\_words`:           `snake\_case\_names\_that\_are\_long\_and\_plain\_words`,
	} {
		for piece := 1; piece <= len(text); piece++ {
			s := testEngine.Stream("text", StreamOptions{})
			var out []byte
			var err error
			for from := 0; from < len(text); from += piece {
				if out, err = s.Write(out, []byte(text[from:min(len(text), from+piece)])); err != nil {
					t.Fatal(err)
				}
			}
			if out, err = s.Flush(out); err != nil || string(out) != want {
				t.Errorf("%q in pieces of %d becomes %q, want %q; %v", text, piece, out, want, err)
			}
			s.Release()
		}
	}
}
