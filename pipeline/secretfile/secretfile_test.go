// SPDX-License-Identifier: Apache-2.0

package secretfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	file := func(content string, mode os.FileMode) func(string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, mode))
		}
	}
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"good":            {file("a2V5\n", 0o600), ""},
		"space around it": {file("  a2V5\r\n\n", 0o600), ""},
		"read only":       {file("a2V5", 0o400), ""},
		"group may read":  {file("a2V5\n", 0o640), "chmod 0600"},
		"group may write": {file("a2V5\n", 0o620), "chmod 0600"},
		"all may read":    {file("a2V5\n", 0o604), "chmod 0600"},
		"empty":           {file("", 0o600), "is empty"},
		"a line break":    {file("\n", 0o600), "is empty"},
		"two lines":       {file("a2V5\nb2V5\n", 0o600), "several lines"},
		"two words":       {file("ApiKey a2V5", 0o600), "words"},
		"much too long":   {file(strings.Repeat("a2V5", maxBytes/4)+"x", 0o600), "on one line"},
		"missing":         {func(string) error { return nil }, "no such file"},
		"a folder":        {func(path string) error { return os.Mkdir(path, 0o700) }, "mode 0700"},
		"a pipe":          {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "has to be a file"},
		"a link to one that others may read": {func(path string) error {
			return errors.Join(file("a2V5", 0o644)(path+".to"), os.Symlink(path+".to", path))
		}, "chmod 0600"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			got, err := Read(path, "the key")
			if c.want == "" {
				if err != nil || got != "a2V5" {
					t.Errorf("%q %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "the key") || strings.Contains(err.Error(), "a2V5") || got != "" {
				t.Errorf("got %q %v, want %q", got, err, c.want)
			}
		})
	}
}
