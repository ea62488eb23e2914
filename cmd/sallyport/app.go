// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// app is one call of the program.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	socket   string // from --socket; "" = from the environment, else the default
	format   string // "table" or "json", for verbs that have -o
	told     bool   // a line of progress stands on the terminal
}

// action does the work of a verb; args are what is left after the flags.
type action func(ctx context.Context, args []string) error

// command is one verb.
type command struct {
	name  string // one or two words
	args  string // what it takes, for people
	short string
	long  string
	// flags declares the verb's flags and returns its action.
	flags func(a *app, fs *flag.FlagSet) action
	// verbatim ends the flags at the first argument that is none: what follows belongs to somebody else.
	verbatim bool
}

// commands lists the verbs in the order in which help shows them.
func commands() []command {
	return []command{
		statusCommand(), doctorCommand(), whyCommand(), sessionsListCommand(), sessionsFindCommand(), sessionsShowCommand(), sessionsTailCommand(), sessionsReplayCommand(), usageCommand(),
		approvalsListCommand(), approvalsShowCommand(), approvalsApproveCommand(), approvalsDenyCommand(), approvalsRevokeCommand(),
		elevateCommand(), grantsCommand(), grantsApproveCommand(), grantsDenyCommand(), grantsRevokeCommand(),
		policyCheckCommand(), policyExplainCommand(), policyTestCommand(), policyDiffCommand(), policyLearnCommand(), rolloutStatusCommand(), maskCommand(), elasticSetupCommand(), elasticStatusCommand(), elasticVerifyCommand(), elasticEraseCommand(), elasticAnchorsCommand(), journalVerifyCommand(), journalExportCommand(), journalRepairCommand(), caseExportCommand(),
		unsealCommand(), eraseCommand(), holdAddCommand(), holdRemoveCommand(), holdListCommand(),
		trustStatusCommand(), trustRemoveCommand(), quarantineCommand(), runCommand(), versionCommand(), completionCommand(), helpCommand(),
	}
}

// find finds the verb that args begin with, the longest of several, and returns what follows it.
func find(args []string) (found *command, rest []string) {
	longest := 0
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if n := len(words); n > longest && len(args) >= n && slices.Equal(words, args[:n]) {
			found, rest, longest = &c, args[n:], n
		}
	}
	return found, rest
}

func (a *app) dispatch(ctx context.Context, args []string) error {
	top := flag.NewFlagSet("sallyport", flag.ContinueOnError)
	top.SetOutput(io.Discard)
	top.StringVar(&a.socket, "socket", "", "")
	if err := top.Parse(args); errors.Is(err, flag.ErrHelp) {
		return a.overview(a.out)
	} else if err != nil {
		return &usageError{msg: err.Error()}
	}
	args = top.Args()
	if len(args) == 0 {
		if err := a.overview(a.err); err != nil {
			return err
		}
		return &usageError{msg: "say what to do"}
	}
	c, rest := find(args)
	if c == nil {
		return unknown(args)
	}
	fs, act := a.prepare(c)
	if strings.Contains(c.args, "QUERY") {
		rest = conditions(rest)
	}
	rest, err := parse(fs, rest, c.verbatim)
	if errors.Is(err, flag.ErrHelp) {
		return a.explain(c)
	}
	if err != nil {
		return &usageError{c.name, err.Error()}
	}
	if a.format != "" && a.format != "table" && a.format != "json" {
		return &usageError{c.name, fmt.Sprintf("-o %q: want table or json", a.format)}
	}
	err = act(ctx, rest)
	var u *usageError
	if errors.As(err, &u) && u.verb == "" {
		u.verb = c.name
	}
	return err
}

func (a *app) prepare(c *command) (*flag.FlagSet, action) {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs, c.flags(a, fs)
}

// unknown says what could have been meant.
func unknown(args []string) error {
	var second []string
	for _, c := range commands() {
		if first, rest, ok := strings.Cut(c.name, " "); ok && first == args[0] {
			second = append(second, rest)
		}
	}
	if len(second) > 0 {
		return &usageError{msg: fmt.Sprintf("%s: say which: %s", args[0], strings.Join(second, ", "))}
	}
	return &usageError{msg: fmt.Sprintf("unknown verb %q", args[0])}
}

// parse parses flags wherever they stand, until "--"; with verbatim, until the first argument that is no flag.
func parse(fs *flag.FlagSet, args []string, verbatim bool) ([]string, error) {
	if verbatim {
		err := fs.Parse(args)
		return fs.Args(), err
	}
	var after []string
	if i := slices.Index(args, "--"); i >= 0 {
		args, after = args[:i], args[i+1:]
	}
	var out []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		if args = fs.Args(); len(args) == 0 {
			return append(out, after...), nil
		}
		out, args = append(out, args[0]), args[1:]
	}
}

// wrong makes a usage error of the verb that runs.
func wrong(format string, args ...any) error { return &usageError{msg: fmt.Sprintf(format, args...)} }

func noArgs(args []string) error {
	if len(args) > 0 {
		return wrong("takes no argument, got %q", args[0])
	}
	return nil
}

func socketFlag(a *app, fs *flag.FlagSet) {
	fs.StringVar(&a.socket, "socket", a.socket, "the daemon's admin `socket` (or SALLYPORT_SOCKET)")
}

func formatFlag(a *app, fs *flag.FlagSet) {
	fs.StringVar(&a.format, "o", "table", "output `format`: table or json")
}

// client talks to the daemon that flags and environment name.
func (a *app) client() *adminapi.Client {
	socket := a.socket
	if socket == "" {
		socket = a.getenv("SALLYPORT_SOCKET")
	}
	return adminapi.NewClient(socket)
}

// printJSON writes one value, indented. What could steer a terminal is escaped: it occurs in strings only, whose value stays.
func (a *app) printJSON(v any) error {
	var raw bytes.Buffer
	e := json.NewEncoder(&raw)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	if err == nil {
		_, err = io.WriteString(a.out, escaped(raw.String()))
	}
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// escaped is JSON without what could steer a terminal.
func escaped(raw string) string {
	var out strings.Builder
	for _, r := range raw {
		if !steers(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&out, "\\u%04x", unit)
		}
	}
	return out.String()
}

// printLine writes one value on a line, escaped as printJSON does.
func (a *app) printLine(v any) error {
	raw, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintln(a.out, escaped(string(raw)))
	}
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// table writes rows in columns; cells are cleaned.
func (a *app) table(rows [][]string) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		for i := range r {
			r[i] = clean(oneLine(r[i]))
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(r, "\t"), "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// clean takes out what could steer a terminal: names and texts come from programs and models that we do not trust.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if steers(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// steers tells runes of escape sequences, those that end lines, and those that are invisible or change the direction.
func steers(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point))
}

// The colours that paint knows.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
)

// paint colours s if the output is a terminal that wants colours (no-color.org).
func (a *app) paint(colour, s string) string {
	if !a.colours() {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

func (a *app) colours() bool {
	f, ok := a.out.(*os.File)
	if !ok || a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
