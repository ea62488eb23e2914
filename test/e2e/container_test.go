// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/test/lab"
)

const (
	podUID      = "0b3f6c1e-9a52-4c6d-8e57-2f1d3c4b5a69"
	containerID = "4f1c9be2a37d5e60718293a4b5c6d7e8f9012a3b4c5d6e7f8091a2b3c4d5e6f7"
)

// TestContainer runs real programs in a container by crun: namespaces of its own, a root folder that is an overlay, and the
// cgroup that the kubelet gives to a container of a pod. The role is bound to the pod.
func TestContainer(t *testing.T) {
	contained(t, func(w *world, a lab.App, out, errOut io.Writer) (*exec.Cmd, func() error, error) {
		cmd, cleanup, err := w.lab.Container(t.Context(), a)
		if err == nil {
			cmd.Stdout, cmd.Stderr = out, errOut
			err = w.lab.Start(a.Cgroup, cmd)
		}
		return cmd, cleanup, err
	})
}

// contained runs programs in the containers that start starts.
func contained(t *testing.T, start func(*world, lab.App, io.Writer, io.Writer) (*exec.Cmd, func() error, error)) {
	w := newWorld(t, "")
	must(t, w.d.Stop(t.Context()))
	policy := filepath.Join(filepath.Dir(w.d.Config), "policy.d", "pod.yaml")
	must(t, os.WriteFile(policy, []byte(`apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: pod}
spec: {role: support-bot, subjects: [{spiffe: "spiffe://example.org/pod/`+podUID+`"}]}
`), 0o644))
	w.conf = strings.NewReplacer("protect:\n", `protect:
  - {name: pods, match: {cgroup: "`+w.lab.Path+`/kubepods"}, mode: enforce}
`, "unit/{unit}", "pod/{pod}").Replace(w.conf)
	w.start()
	s := w.space(0)
	for _, venv := range generations {
		t.Run(venv, func(t *testing.T) {
			a := w.app("kubepods/burstable/pod"+podUID+"/"+containerID, venv, "plain.py", "say: good morning")
			a.NetNS = s.Path()
			var out, errOut bytes.Buffer
			cmd, cleanup, err := start(w, a, &out, &errOut)
			must(t, err)
			defer func() { must(t, cleanup()) }()
			if err := cmd.Wait(); err != nil || out.String() != "good morning\n" {
				t.Fatalf("%v: %q: %s", err, out.String(), errOut.String())
			}
		})
	}
	xs := w.exchanges()
	if len(xs) != len(generations) {
		t.Errorf("%d exchanges", len(xs))
	}
	for _, x := range xs {
		if x.Workload.Pod != podUID || x.Workload.Container != containerID || x.Workload.Unit != "" || x.Principal.SPIFFEID != "spiffe://example.org/pod/"+podUID ||
			!x.Verdict.Enforced || x.Verdict.Rule != "role/support-bot" {
			t.Errorf("%+v", x)
		}
	}
}
