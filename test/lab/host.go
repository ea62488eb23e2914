// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// InsideEnv tells a test binary that it was started in a mount namespace that stands for the host.
const InsideEnv = "SALLYPORT_TEST_HOST"

// Again runs one test of this test binary again, in a mount namespace of its own, with InsideEnv set. What it printed is
// returned; it is an error if the test did not pass there.
func Again(ctx context.Context, test string) (string, error) {
	cmd := exec.CommandContext(ctx, "unshare", "-m", "--propagation", "private", os.Args[0], "-test.run", "^"+regexp.QuoteMeta(test)+"$", "-test.v", "-test.timeout=9m")
	cmd.Env = []string{InsideEnv + "=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	out, err := cmd.CombinedOutput()
	if err == nil && !bytes.Contains(out, []byte("--- PASS: "+test)) {
		err = fmt.Errorf("%s did not run there", test)
	}
	return string(out), err
}

// layered are the folders of a host that tools write to, and those in which interpreters with packages of their own may lie.
var layered = []string{"/etc", "/usr", "/var", "/root", "/home", "/opt"}

// StandForHost lays a layer over every folder that tools write to, so that nothing outside of this namespace changes.
func StandForHost() error {
	if os.Getenv(InsideEnv) == "" {
		return fmt.Errorf("this is the host itself: use Again")
	}
	for _, dir := range layered {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			continue
		}
		if err := Layer(dir, dir); err != nil {
			return err
		}
	}
	// A keystore for Java is made anew after each change, by a Java program that takes long.
	if err := os.Remove("/etc/ca-certificates/update.d/jks-keystore"); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// FewCertificates leaves a handful in the system's store, so that the distribution's tool is quick.
func FewCertificates() error {
	if os.Getenv(InsideEnv) == "" {
		return fmt.Errorf("this is the host itself: use Again")
	}
	const conf = "/etc/ca-certificates.conf"
	b, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	var few []byte
	n := 0
	for line := range bytes.Lines(b) {
		if !bytes.HasPrefix(line, []byte("#")) {
			if n++; n > 5 {
				break
			}
		}
		few = append(few, line...)
	}
	if err := os.WriteFile(conf, few, 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("/usr/sbin/update-ca-certificates", "--fresh").CombinedOutput(); err != nil {
		return fmt.Errorf("update-ca-certificates: %w: %s", err, out)
	}
	return nil
}

// Layer shows the folder dir at over, with what is written there kept in memory. It lasts as long as the namespace, unless
// over is unmounted.
func Layer(dir, over string) error {
	top, err := os.MkdirTemp("", "layer")
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", top, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("making a layer: %w", err)
	}
	for _, d := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(top, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(over, 0o755); err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work,redirect_dir=on", dir, top, top)
	if err := unix.Mount("overlay", over, "overlay", 0, options); err != nil {
		return fmt.Errorf("laying a layer over %s: %w", over, err)
	}
	// Nobody needs the folder any more, but the mount: whoever comes here outside would only see it empty.
	if err := unix.Unmount(top, unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Remove(top)
}
