// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
)

// defaultPolicy is policy.dir unless the configuration says otherwise.
const defaultPolicy = "/etc/sallyport/policy.d"

func policyCheckCommand() command {
	return command{
		name: "policy check", args: "[DIR]", short: "do the documents of a folder compile",
		long: `Reads the *.yaml and *.yml files of DIR (` + defaultPolicy + `) as the daemon would: all or nothing. Every mistake is one
line on standard error, FILE:LINE: what is wrong: what to do. Needs no daemon and changes nothing.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			formatFlag(a, fs)
			return func(_ context.Context, args []string) error {
				dir := defaultPolicy
				switch len(args) {
				case 0:
				case 1:
					dir = args[0]
				default:
					return wrong("takes one folder, got also %q", args[1])
				}
				set, err := policy.Load(dir)
				if err != nil {
					return err
				}
				files := 0
				for _, pattern := range []string{"*.yaml", "*.yml"} {
					names, err := filepath.Glob(filepath.Join(dir, pattern))
					if err != nil {
						return fmt.Errorf("listing %s: %w", dir, err)
					}
					files += len(names)
				}
				if a.format == "json" {
					return a.printJSON(map[string]any{"ok": true, "policy": set.Version(), "files": files})
				}
				if files == 0 {
					_, err = fmt.Fprintf(a.out, "no document in %s: an enforcing scope would be refused everything\n", clean(dir))
					return err
				}
				_, err = fmt.Fprintf(a.out, "%s, %s, policy %s\n", a.paint(green, "fine"), plural(files, "file"), set.Version())
				return err
			}
		},
	}
}

// localPolicy explains by the documents of a folder.
func localPolicy(dir string) (asker, error) {
	set, err := policy.Load(dir)
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, r adminapi.ExplainRequest) (adminapi.Explanation, error) {
		m := pipeline.Meta{Mode: r.Mode, Workload: r.Workload, Principal: r.Principal, Endpoint: r.Endpoint}
		return adminapi.Explanation(set.Explain(&m, &r.Call, r.Step)), nil
	}, nil
}
