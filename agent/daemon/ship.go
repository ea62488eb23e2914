// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

func (d *daemon) openElastic(context.Context) error { return nil }

func (d *daemon) closeElastic() error { return nil }

func (d *daemon) elasticStatus() adminapi.Elastic { return adminapi.Elastic{State: "off"} }
