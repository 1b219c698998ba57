package mosquitto

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Dynamic is what mosquitto's plugin for dynamic security keeps in its file.
type Dynamic struct {
	Defaults struct {
		Send      bool `json:"publishClientSend"`
		Receive   bool `json:"publishClientReceive"`
		Subscribe bool `json:"subscribe"`
	} `json:"defaultACLAccess"`
	Clients   []DynamicClient `json:"clients"`
	Groups    []DynamicGroup  `json:"groups"`
	Roles     []DynamicRole   `json:"roles"`
	Anonymous string          `json:"anonymousGroup"` // for clients without a user name
}

// DynamicClient is one user.
type DynamicClient struct {
	Username   string    `json:"username"`
	ClientID   *string   `json:"clientid,omitempty"` // the only one; nil: any
	Disabled   bool      `json:"disabled,omitempty"`
	Password   string    `json:"password"` // the hash, in base64
	Salt       string    `json:"salt"`     // likewise
	Iterations int       `json:"iterations"`
	Encoded    string    `json:"encoded_password,omitempty"` // all of it, since 2.1
	Roles      []RoleRef `json:"roles"`
}

// Hash is the password as files of passwords have it; empty if there is none.
func (c *DynamicClient) Hash() string {
	switch {
	case c.Encoded != "":
		return c.Encoded
	case c.Password == "" || c.Salt == "":
		return ""
	}
	return fmt.Sprintf("$7$%d$%s$%s", c.Iterations, c.Salt, c.Password)
}

// RoleRef is a role that somebody has. Higher priorities are asked first.
type RoleRef struct {
	Name     string `json:"rolename"`
	Priority int    `json:"priority"`
}

// DynamicGroup is users who have roles in common.
type DynamicGroup struct {
	Name    string    `json:"groupname"`
	Roles   []RoleRef `json:"roles"`
	Clients []struct {
		Username string `json:"username"`
		Priority int    `json:"priority"` // of the group, for this user
	} `json:"clients"`
}

// DynamicRole is a list of rules.
type DynamicRole struct {
	Name string       `json:"rolename"`
	ACLs []DynamicACL `json:"acls"`
}

// DynamicACL is one rule: of the type publishClientSend, publishClientReceive,
// subscribeLiteral, subscribePattern, unsubscribeLiteral or unsubscribePattern.
type DynamicACL struct {
	Type     string `json:"acltype"`
	Topic    string `json:"topic"`
	Priority int    `json:"priority"`
	Allow    bool   `json:"allow"`
}

// ParseDynamic reads the file. What is in it besides is passed over.
func ParseDynamic(data []byte) (*Dynamic, error) {
	d := &Dynamic{}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(d); err != nil {
		return nil, fmt.Errorf("is not the JSON of dynamic security: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("is not the JSON of dynamic security: something follows it")
	}
	seen := map[string]bool{}
	for _, c := range d.Clients {
		if c.Username == "" || seen[c.Username] {
			return nil, fmt.Errorf("has the user %q twice, or one without a name", c.Username)
		}
		seen[c.Username] = true
	}
	return d, nil
}
