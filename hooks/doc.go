// Package hooks holds the mochi hooks that tie a connection to its session:
// who gets in (Access), whose session it is (Sessions), and what it listens
// to (Subscriptions). Connects and disconnects become events here.
//
// Their methods are called from many goroutines at once. What can change
// meanwhile, such as [Rules], is exchanged whole.
//
// mochi sees every connection as a clean one without a will and with no
// subscriptions. Its trie stays empty, so nothing is ever delivered by it:
// sessions, subscriptions and wills are relay's.
package hooks
