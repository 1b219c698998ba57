package acl_test

import (
	"fmt"

	"github.com/synthetism/edgebroker/acl"
)

func Example() {
	rules, err := acl.Parse("acl.conf", []byte(`
deny  any            subscribe  plant/+/secret
allow group=devices  publish    up/%u/#
allow group=devices  subscribe  plant/#
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	policy, err := acl.New(rules)
	if err != nil {
		fmt.Println(err)
		return
	}
	rights := policy.Resolve(acl.Subject{User: "press1", ClientID: "c7", Groups: []string{"devices"}})
	fmt.Println(rights.Publish("up/press1/temperature"))
	fmt.Println(rights.Publish("up/press2/temperature"))
	fmt.Println(rights.Subscribe("#"))
	fmt.Println(rights.Receive("plant/line1/secret"))
	// Output:
	// allowed by acl.conf:3: allow group=devices publish up/%u/#
	// denied by default: no rule fits
	// allowed by acl.conf:4: allow group=devices subscribe plant/#
	// denied by acl.conf:2: deny any subscribe plant/+/secret
}
