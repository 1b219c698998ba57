// Package certs makes, loads and watches the certificates of a broker and of
// its devices.
//
// An [Authority] is a small certificate authority in a folder: it issues a
// certificate for the broker and one for each device, and signs the list of
// those that are revoked. Who has an authority elsewhere does not need it.
//
// A [Source] is what one TLS listener needs: certificate and key, the
// authorities whose clients may come in, and their revocation lists. It loads
// the files, checks that they fit each other, looks for changes, and yields a
// tls.Config whose new handshakes use what was loaded last. Connections that
// stand are not touched. Files that do not fit are reported, and what was
// loaded before stays in use.
//
// # Clocks
//
// A gateway without a battery starts in 1970. What an Authority issues is valid
// from 1970 on, so that neither such a gateway nor such a device refuses it for
// being from the future; and while the clock says a time before [Epoch], which
// cannot be, lifetimes of what is issued start at Epoch, and a Source takes the
// time to be the latest at which one of its files was made.
package certs

import "time"

// Epoch is a time that has passed. A clock that says an earlier one is wrong.
func Epoch() time.Time { return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC) }

// always is the beginning of validity of what we issue.
func always() time.Time { return time.Unix(0, 0).UTC() }
