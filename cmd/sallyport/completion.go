// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
)

func completionCommand() command {
	return command{
		name: "completion", args: "bash|zsh|fish", short: "print a completion script for a shell",
		long: "bash: source <(sallyport completion bash)\nzsh:  source <(sallyport completion zsh)\nfish: sallyport completion fish | source",
		flags: func(a *app, _ *flag.FlagSet) action {
			return func(_ context.Context, args []string) error {
				if len(args) != 1 {
					return wrong("takes one shell: bash, zsh or fish")
				}
				var script string
				switch args[0] {
				case "bash":
					script = bashScript(a)
				case "zsh":
					script = "autoload -Uz bashcompinit && bashcompinit\n" + bashScript(a)
				case "fish":
					script = fishScript(a)
				default:
					return wrong("unknown shell %q: want bash, zsh or fish", args[0])
				}
				_, err := fmt.Fprint(a.out, script)
				return err
			}
		},
	}
}

// words lists first words, and for those that need one the second words.
func words() (first []string, second map[string][]string) {
	second = map[string][]string{}
	for _, c := range commands() {
		f, s, two := strings.Cut(c.name, " ")
		if !slices.Contains(first, f) {
			first = append(first, f)
		}
		if two {
			second[f] = append(second[f], s)
		}
	}
	return first, second
}

// flagsOf lists the flags of a verb as one types them.
func (a *app) flagsOf(c *command) []string {
	fs, _ := a.prepare(c)
	var out []string
	fs.VisitAll(func(f *flag.Flag) {
		if len(f.Name) == 1 {
			out = append(out, "-"+f.Name)
		} else {
			out = append(out, "--"+f.Name)
		}
	})
	return out
}

// bashScript completes words by position, then flags, else files.
func bashScript(a *app) string {
	var b strings.Builder
	first, second := words()
	b.WriteString("_sallyport() {\n  local cur=${COMP_WORDS[COMP_CWORD]} verb=\"${COMP_WORDS[1]}\" words=\"\"\n")
	fmt.Fprintf(&b, "  if [ \"$COMP_CWORD\" -eq 1 ]; then words=\"%s\"\n", strings.Join(first, " "))
	b.WriteString("  else\n    if [ \"$COMP_CWORD\" -eq 2 ]; then\n      case $verb in\n")
	for _, f := range first {
		if len(second[f]) > 0 {
			fmt.Fprintf(&b, "        %s) words=\"%s\" ;;\n", f, strings.Join(second[f], " "))
		}
	}
	b.WriteString("      esac\n    fi\n    if [ -z \"$words\" ] && [ \"${cur#-}\" != \"$cur\" ]; then\n      case \"$verb ${COMP_WORDS[2]}\" in\n")
	for _, c := range commands() {
		pattern := "\"" + c.name + "\""
		if !strings.Contains(c.name, " ") {
			pattern = "\"" + c.name + " \"*"
		}
		if flags := a.flagsOf(&c); len(flags) > 0 {
			fmt.Fprintf(&b, "        %s) words=\"%s\" ;;\n", pattern, strings.Join(flags, " "))
		}
	}
	b.WriteString("      esac\n    fi\n  fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _sallyport sallyport\n")
	return b.String()
}

func fishScript(a *app) string {
	var b strings.Builder
	first, second := words()
	fmt.Fprintf(&b, "complete -c sallyport -n __fish_use_subcommand -f -a '%s'\n", strings.Join(first, " "))
	for _, f := range first {
		if len(second[f]) > 0 {
			fmt.Fprintf(&b, "complete -c sallyport -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from %s' -f -a '%s'\n",
				f, strings.Join(second[f], " "), strings.Join(second[f], " "))
		}
	}
	for _, c := range commands() {
		for _, f := range a.flagsOf(&c) {
			kind := "-l"
			if !strings.HasPrefix(f, "--") {
				kind = "-s"
			}
			cond := "__fish_seen_subcommand_from " + strings.Join(strings.Fields(c.name), "; and __fish_seen_subcommand_from ")
			fmt.Fprintf(&b, "complete -c sallyport -n '%s' %s %s\n", cond, kind, strings.TrimLeft(f, "-"))
		}
	}
	return b.String()
}
