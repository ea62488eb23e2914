// SPDX-License-Identifier: Apache-2.0

// Langchaingo answers the questions of its arguments, or of its standard input. It is a module of its own, so
// that Sallyport does not depend on what it depends on.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"github.com/tmc/langchaingo/llms"
	"github.com/tmc/langchaingo/llms/openai"
)

func main() {
	if err := ask(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(prompts []string) error {
	llm, err := openai.New(openai.WithModel("gpt-4o-mini"))
	if err != nil {
		return err
	}
	next := func() (string, bool) {
		if len(prompts) == 0 {
			return "", false
		}
		p := prompts[0]
		prompts = prompts[1:]
		return p, true
	}
	if len(prompts) == 0 {
		lines := bufio.NewScanner(os.Stdin)
		next = func() (string, bool) { ok := lines.Scan(); return lines.Text(), ok }
	}
	for p, ok := next(); ok; p, ok = next() {
		answer, err := llms.GenerateFromSinglePrompt(context.Background(), llm, p)
		if err != nil {
			return err
		}
		fmt.Println(answer)
	}
	return nil
}
