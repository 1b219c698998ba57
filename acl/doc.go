// Package acl decides what a client may do: on which topics it may publish,
// which messages it may be sent, and which subscriptions are worth keeping.
// Who a client is, is decided elsewhere and handed in as a [Subject].
//
// A [Policy] is a list of rules, read from files ([Load]) or given in code
// ([New]). The first rule that fits decides; where none fits, the verdict is
// deny. [Policy.Resolve] makes a subject's [Rights] once, when it connects;
// [Rights.Publish] and [Rights.Receive] then answer for each message without
// allocating. Policies and rights never change, so that all methods may be
// called from any goroutine; a new file makes a new policy, and every subject
// must be resolved again.
//
// [Append] and [Remove] change a file of rules in one step that a crash cannot
// tear. docs/ACL.md describes the file.
package acl
