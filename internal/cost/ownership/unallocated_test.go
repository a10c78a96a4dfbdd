// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/pitwall-io/pitwall/internal/cost/money"
	"github.com/pitwall-io/pitwall/internal/cost/ownership"
)

func TestTheAttributeThatWouldResolveMostMoneyComesFirst(t *testing.T) {
	var list []ownership.Unowned
	for i := range 100 {
		u := ownership.Unowned{Cost: money.FromInt(1), Attributes: []ownership.Tag{
			{Key: "id", Value: strconv.Itoa(i)}, {Key: "namespace", Value: strconv.Itoa(i % 4)}, {Key: "account", Value: "1"},
		}}
		if i < 30 {
			u.Attributes = append(u.Attributes, ownership.Tag{Key: "team", Value: "x"})
		}
		list = append(list, u)
	}
	list = append(list, ownership.Unowned{Cost: money.FromInt(-5), Attributes: []ownership.Tag{{Key: "credit", Value: "1"}}})
	assert.Equal(t, []ownership.Suggestion{
		{Attribute: "account", Values: 1, Resolved: money.FromInt(100)},
		{Attribute: "namespace", Values: 4, Resolved: money.FromInt(100)},
		{Attribute: "team", Values: 1, Resolved: money.FromInt(30)},
		{Attribute: "id", Values: 100, Resolved: money.FromInt(10)},
	}, ownership.Suggest(list))
	assert.Empty(t, ownership.Suggest(nil))
}
