// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/manage"
)

// defaultConfig is where the daemon reads its configuration.
const defaultConfig = "/etc/sallyport/config.yaml"

// elasticFlags say which Elasticsearch is meant, and who asks.
type elasticFlags struct {
	config, url, key, user, password, ca, fingerprint, namespace string
	journal                                                      string // from the configuration
}

func serverFlags(fs *flag.FlagSet) *elasticFlags {
	f := new(elasticFlags)
	fs.StringVar(&f.config, "config", "", "take what is not given from elasticsearch in this `file`; without --url "+defaultConfig)
	fs.StringVar(&f.url, "url", "", "`address` of Elasticsearch; several with commas between")
	fs.StringVar(&f.key, "api-key-file", "", "`file` with an encoded API key, mode 0600")
	fs.StringVar(&f.user, "user", "", "user `name`, instead of a key")
	fs.StringVar(&f.password, "password-file", "", "`file` with the user's password, mode 0600")
	fs.StringVar(&f.ca, "ca-file", "", "`file` with the authority's certificate; empty = system roots")
	fs.StringVar(&f.fingerprint, "fingerprint", "", "SHA-256 of the certificate to trust, in `hex`")
	fs.StringVar(&f.namespace, "namespace", "", "the tenant: last part of the data streams' `name`; default")
	return f
}

// complete takes from the configuration what no flag says.
func (f *elasticFlags) complete() error {
	if f.config == "" && f.url != "" {
		if f.namespace == "" {
			f.namespace = "default"
		}
		return client.CheckNamespace(f.namespace)
	}
	if f.config == "" {
		f.config = defaultConfig
	}
	c, err := config.Load(f.config, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: name it with --config, or the server with --url", err)
	}
	if err != nil {
		return err
	}
	e := &c.Elasticsearch
	f.journal = c.Record.Dir
	if f.url == "" {
		f.url = strings.Join(e.Nodes(), ",")
	}
	if f.url == "" {
		return fmt.Errorf("%s names no Elasticsearch: give --url", f.config)
	}
	if f.key == "" && f.user == "" {
		f.key = e.APIKeyFile
	}
	if f.ca == "" && f.fingerprint == "" {
		f.ca, f.fingerprint = e.CAFile, e.Fingerprint
	}
	if f.namespace == "" {
		f.namespace = e.Namespace
	}
	return client.CheckNamespace(f.namespace)
}

func (f *elasticFlags) open() (*client.Client, error) {
	if err := f.complete(); err != nil {
		return nil, err
	}
	o := client.Options{URLs: strings.Split(f.url, ","), Username: f.user, Fingerprint: f.fingerprint}
	var err error
	if f.ca != "" {
		if o.CA, err = os.ReadFile(f.ca); err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
	}
	if f.key != "" {
		if o.APIKey, err = client.ReadSecret(f.key); err != nil {
			return nil, err
		}
	}
	if f.password != "" {
		if o.Password, err = client.ReadSecret(f.password); err != nil {
			return nil, err
		}
	}
	return client.New(o)
}

func elasticSetupCommand() command {
	return command{
		name: "elastic setup", short: "make templates and lifecycle policies, and show what keys and roles are needed",
		long: `Makes what the data streams need: templates are replaced, lifecycle policies too. Needs the privileges
manage_index_templates and manage_ilm. Then it prints requests that make keys for the agent and roles for readers: it does
not send them, so that no key is made that nobody keeps. With --dry-run it prints everything and asks nobody.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			f := serverFlags(fs)
			dry := fs.Bool("dry-run", false, "only print what would be sent")
			var l document.Lifecycle
			days := func(name string, def int, what string) *int {
				return fs.Int(name, def, "keep "+what+" for so many `days` after the rollover")
			}
			m, c, ad := days("keep-metadata", 365, "exchanges, decisions and flows"), days("keep-content", 30, "contents"), days("keep-admin", 730, "administration and anchors")
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				if *m < 1 || *c < 1 || *ad < 1 {
					return wrong("keeps documents for a day at least")
				}
				day := 24 * time.Hour
				l.Metadata, l.Content, l.Admin = time.Duration(*m)*day, time.Duration(*c)*day, time.Duration(*ad)*day
				if *dry && f.url == "" && f.config == "" {
					f.url = "http://localhost:9200" // is not asked
				}
				cl, err := f.open()
				if err != nil {
					return err
				}
				defer cl.Close()
				if *dry {
					for _, t := range document.Templates(l) {
						fmt.Fprintf(a.out, "PUT %s\n%s\n\n", t.Path, t.Body)
					}
				} else {
					if err := manage.Install(ctx, cl, l, manage.ReplacePolicies); err != nil {
						return err
					}
					fmt.Fprintf(a.out, "%d templates and policies are made\n\n", len(document.Templates(l)))
				}
				for _, p := range manage.Suggest(f.namespace) {
					method := "PUT"
					if strings.HasSuffix(p.Path, "/api_key") {
						method = "POST"
					}
					fmt.Fprintf(a.out, "# %s\n%s %s\n%s\n\n", p.Doc, method, p.Path, p.Body)
				}
				return nil
			}
		},
	}
}

func elasticStatusCommand() command {
	return command{
		name: "elastic status", short: "what is in Elasticsearch, and what is missing there",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			f := serverFlags(fs)
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				cl, err := f.open()
				if err != nil {
					return err
				}
				defer cl.Close()
				st, err := manage.Ask(ctx, cl, f.namespace)
				if err != nil {
					return err
				}
				out := struct {
					*manage.Status
					Agent *adminapi.Elastic `json:"agent,omitempty"` // of this host, if it runs
				}{Status: st}
				c := a.client()
				defer c.Close()
				if d, err := c.Status(ctx); err == nil {
					out.Agent = &d.Elastic
				}
				if a.format == "json" {
					return a.printJSON(out)
				}
				rows := [][]string{{"STREAM", "HEALTH", "INDICES", "DOCUMENTS", "NEWEST", "POLICY"}}
				for _, s := range st.Streams {
					row := []string{s.Stream, "none yet", "", "", "", s.Policy}
					if s.Exists {
						n := "not for this key"
						if s.Documents >= 0 {
							n = fmt.Sprint(s.Documents)
						}
						row = []string{s.Stream, s.Health, fmt.Sprint(s.Indices), n, clock(s.Newest), s.Policy}
					}
					rows = append(rows, row)
				}
				if err := a.table(rows); err != nil {
					return err
				}
				if out.Agent != nil {
					fmt.Fprintf(a.out, "agent on this host: %s, %d records behind\n", clean(out.Agent.State), out.Agent.Lag)
				}
				for _, name := range st.Missing {
					fmt.Fprintln(a.out, a.paint(yellow, "missing: "+name+": run sallyport elastic setup"))
				}
				if n := len(st.Unknown); n > 0 {
					fmt.Fprintf(a.out, "the key may not ask for %s\n", plural(n, "template or policy"))
				}
				return nil
			}
		},
	}
}

func elasticVerifyCommand() command {
	return command{
		name: "elastic verify", args: "[DIR]", short: "compare the journal with Elasticsearch, document by document",
		long: `Reads every record of the journal in DIR (that of the configuration, or ` + defaultJournal + `) and looks for its documents: missing,
there twice, altered, foreign (of this host, without a record), left (contents that were erased in the journal), broken (it
leaves out what the exchange that it names does not have), version (another version of Sallyport made it, says the document,
and a field is missing; give --versions if this host has run that one). Exit status 1 if there is any. Records that the agent has not shipped yet are counted as pending. The journal is what is believed: see
sallyport journal verify. Needs the privilege read on all streams, and maintenance to see the newest second.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			formatFlag(a, fs)
			f := serverFlags(fs)
			host := fs.String("host", "", "`name` of the host whose journal it is; this one")
			versions := fs.String("versions", "", "`versions` of Sallyport that this host has run, with commas between: that their documents lack newer fields is no failure")
			quiet := fs.Bool("quiet", false, "no progress")
			return func(ctx context.Context, args []string) error {
				cl, err := f.open()
				if err != nil {
					return err
				}
				defer cl.Close()
				dir := or(f.journal, defaultJournal)
				if len(args) > 0 {
					if dir, err = journalDir(args); err != nil {
						return err
					}
				}
				if *host == "" {
					if *host, err = os.Hostname(); err != nil {
						return fmt.Errorf("asking for the name of this host: %w", err)
					}
				}
				o := manage.VerifyOptions{Dir: dir, Namespace: f.namespace, Host: *host, Version: version}
				if *versions != "" {
					o.Versions = strings.Split(*versions, ",")
				}
				if o.Shipped, err = elastic.Shipped(dir); err != nil {
					return err
				}
				last := time.Now()
				o.Progress = func(n int) {
					if now := time.Now(); !*quiet && now.Sub(last) > 2*time.Second {
						last = now
						fmt.Fprintf(a.err, "%d documents compared\n", n)
					}
				}
				rep, err := manage.Verify(ctx, cl, o)
				if err != nil {
					return err
				}
				return a.showComparison(rep)
			}
		},
	}
}

func (a *app) showComparison(rep *manage.Report) error {
	if a.format == "json" {
		err := a.printJSON(rep)
		if !rep.OK {
			err = errors.Join(err, errNo)
		}
		return err
	}
	for _, p := range rep.Problems {
		fmt.Fprintln(a.out, clean(strings.TrimSpace(strings.Join([]string{p.Kind, p.Stream, p.ID, p.Detail}, " "))))
	}
	rows := [][]string{{"documents", fmt.Sprint(rep.Documents)}, {"the same", fmt.Sprint(rep.Same)}, {"pending", fmt.Sprint(rep.Pending)}, {"older than the journal", fmt.Sprint(rep.Older)}}
	for _, kind := range []string{manage.Missing, manage.Duplicate, manage.Altered, manage.Foreign, manage.Left, manage.Broken, manage.Version} {
		rows = append(rows, []string{kind, fmt.Sprint(rep.Counts[kind])})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if !rep.OK {
		return errors.New("what Elasticsearch has is not what the journal has: the journal is the record")
	}
	return nil
}

func elasticAnchorsCommand() command {
	return command{
		name: "elastic anchors", short: "write the signed checkpoints that are in Elasticsearch, for journal verify --anchors",
		flags: func(a *app, fs *flag.FlagSet) action {
			f := serverFlags(fs)
			host := fs.String("host", "", "only those of the host with this `name`")
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				cl, err := f.open()
				if err != nil {
					return err
				}
				defer cl.Close()
				list, err := manage.Anchors(ctx, cl, f.namespace, *host)
				if err != nil {
					return err
				}
				enc := json.NewEncoder(a.out)
				for i := range list {
					if err := enc.Encode(&list[i]); err != nil {
						return fmt.Errorf("writing the anchors: %w", err)
					}
				}
				return nil
			}
		},
	}
}
