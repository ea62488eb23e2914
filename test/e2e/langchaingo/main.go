// SPDX-License-Identifier: Apache-2.0

// Langchaingo asks one question by langchaingo's client of OpenAI: langchaingo [STAGE FILE]; see test/e2e/python/client.py. It is
// a module of its own, so that Sallyport does not depend on what it depends on.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tmc/langchaingo/llms"
	"github.com/tmc/langchaingo/llms/openai"
)

func main() {
	if err := ask(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask() error {
	if err := reached("imported"); err != nil {
		return err
	}
	client, err := openai.New(openai.WithModel("gpt-4o-mini"))
	if err != nil {
		return err
	}
	if err := reached("built"); err != nil {
		return err
	}
	answer, err := llms.GenerateFromSinglePrompt(context.Background(), client, "say: an answer")
	if err != nil {
		return err
	}
	fmt.Println(answer)
	return nil
}

// reached waits at a stage for the file that lets it go on.
func reached(at string) error {
	if len(os.Args) < 3 || os.Args[1] != at {
		return nil
	}
	if err := os.WriteFile(os.Args[2]+".here", nil, 0o644); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(os.Args[2]); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}
