// Package web is the broker's HTTP(S) address: the routes of package statsd for
// people in a browser and for programs elsewhere, who must say who they are.
//
// A person signs in with a user of a password file and gets a session, in a
// cookie; a program sends the same by HTTP Basic with every request. Groups of
// that file are the roles: group "admin" may do everything; group "viewer", and
// who is in no group, may only look; who is in other groups alone, such as a
// device, may not come in. What a route does is statsd's to say, so that a new
// one is judged here without a change.
//
// # What is turned away
//
// Requests by a host name that is not the broker's own: a page of another site
// whose name has been made to lead here (DNS rebinding). Requests that change
// something and come from another site's page (cross-site request forgery), and
// all from such a page that somebody's login would go with. Connections beyond
// bounds, all together and from one network. Guesses, as auth.Lockout has it.
//
// # Bounds
//
// Connections, streams, sessions, remembered passwords and logins under way are
// all bounded, and each request in time, header and body. At most one password
// is hashed at a time for this address, so that half of what an auth.Verifier
// lets run by default is left for MQTT clients.
package web
