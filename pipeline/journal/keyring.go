// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"path/filepath"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
)

// keysDir is the folder of session keys in a journal folder.
func keysDir(dir string) string { return filepath.Join(dir, "keys") }

// A keyring opens the sealed content of the records of one folder for one reader. It is used by one goroutine. Nothing is opened
// before something is to be read.
type keyring struct {
	dir    string
	shared *content.Store // of the writer in this process; nil = there is none

	own    *content.Store
	opens  *content.Opener
	loader *Loader // for content that is referred to
	aad    []byte
}

func (k *keyring) opener() *content.Opener {
	if k.opens == nil {
		store := k.shared
		if store == nil {
			k.own = content.NewStore(keysDir(k.dir), nil)
			store = k.own
		}
		k.loader = NewLoader(k.dir)
		k.opens = content.NewOpener(store, k.fetch)
	}
	return k.opens
}

func (k *keyring) fetch(at pipeline.Position) (generation uint64, sealed, aad []byte, err error) {
	e, err := k.loader.Read(at)
	if err != nil {
		return 0, nil, nil, err
	}
	if e.flags&flagSealed == 0 {
		return 0, nil, nil, e.damage("there is no content here")
	}
	_, sealed, err = e.halves()
	k.aad = e.bound(k.aad[:0])
	return e.Generation, sealed, k.aad, err
}

func (k *keyring) close() error {
	var errs []error
	if k.loader != nil {
		errs = append(errs, k.loader.Close())
	}
	if k.own != nil {
		errs = append(errs, k.own.Close())
	}
	k.opens, k.own, k.loader = nil, nil, nil
	return errors.Join(errs...)
}
