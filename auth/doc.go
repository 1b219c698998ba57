// Package auth decides who a client is. It knows nothing of MQTT, listeners or
// configuration: a caller fills an [Attempt], asks a [Source], and gets an
// [Identity] or an error that says what to do.
//
// # Sources
//
// Sources are asked in order by [Chain]. Each answers in one of four ways: an
// identity; [ErrPass], "not mine", and the next source is asked; [ErrRefused],
// which ends the question; any other error, a failure, which ends it too. What
// ends the question without an identity keeps the client out: nothing that
// breaks lets anybody in.
//
//	source             passes when                              else decides
//	CertificateSource  the client has no certificate            by the certificate alone
//	PasswordFile       user name or password is absent,         by the file alone
//	                   or the user is not in the file
//	TokenSource        the password does not look like a JWT    by the token alone
//	HTTPSource         there is neither user name nor password, by the answer
//	                   or the answer is "ignore"
//
// A user who is in the file is judged by the file: a later source is not asked
// about them, so order is precedence. That a user is not in the file costs as
// much as a wrong password, but then the next source takes its own time. Where
// that is long, as with an HTTPSource, [Floor] hides the difference. Put a
// TokenSource before a PasswordFile, or each token pays for a password hash.
//
// # Limits
//
// A [Verifier] bounds how much memory and how many processors hashing may use;
// [Lockout] bounds guessing. Both outlive the sources, which are immutable: to
// reload, load a new one, and keep the old one if that is an error. Put together:
//
//	lockout.Guard(auth.Floor(300*time.Millisecond, auth.Chain(tokens, passwords, http)))
//
// # Secrets
//
// A [Secret] prints as "[redacted]". No error of this package contains a
// password, a hash, a token, a key or what a server answered.
package auth
