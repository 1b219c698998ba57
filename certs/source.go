package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

// DefaultInterval is how often the files are looked at, unless Hints make that
// needless.
const DefaultInterval = 5 * time.Second

// Options say what a Source is to do.
type Options struct {
	Files      Files
	Clients    ClientMode
	MinVersion uint16   // tls.VersionTLS12 or tls.VersionTLS13; 0: TLS 1.2
	Protocols  []string // for ALPN; a client that names none of them is refused, one that has no ALPN is not

	// Interval is how often Run looks at the files, unless Hints make that needless;
	// 0: DefaultInterval.
	Interval time.Duration

	// Rest has the looks coincide with what else is done in the process; nil for
	// nothing else.
	Rest *rest.Rest

	// Hints tells when files may have changed; nil: nobody does.
	Hints rest.Hinter

	// Report is told what happens to the files, by the goroutine of Load,
	// Reload or Run, one call at a time. It must not call the Source. Nil: nobody.
	Report func(Report)
}

// Report is one thing that happened to the files.
type Report struct {
	What  What
	State FileState // of Expiring and Expired
	Err   error     // of Rejected and Expired: what is wrong, and how to mend it
}

// What happened.
type What string

// What a Report is about. Each change is reported once.
const (
	Reloaded What = "reloaded" // changed files are in use for new handshakes
	Rejected What = "rejected" // changed files are not good; the ones before stay in use
	Expiring What = "expiring" // something ends soon
	Expired  What = "expired"  // something is over
)

// Source is the TLS side of one listener; see the package comment. Load it
// before its TLSConfig is used. Its methods may be called from any goroutine.
type Source struct {
	opts    Options
	now     func() time.Time
	server  *tls.Config // see TLSConfig; its keys seal sessions
	current atomic.Pointer[loaded]
	since   atomic.Pointer[time.Time] // see Since

	mu      sync.Mutex    // held while files are looked at; guards everything that follows
	seen    []fs.FileInfo // of the last look; nil: of a file that is not there
	settled bool          // what the last look saw has been dealt with
	last    [sha256.Size]byte
	failing string // the errors of the last look, if it could not read
	told    map[notice]bool
}

// loaded is what is in use.
type loaded struct {
	*material
	config *tls.Config
	sum    [sha256.Size]byte
}

// notice is something about a file that is said once.
type notice struct {
	what     What
	role     string
	path     string
	subject  string
	notAfter int64
}

// NewSource returns a source that has read nothing yet.
func NewSource(o Options) *Source {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Rest == nil {
		o.Rest = rest.New()
	}
	if o.Report == nil {
		o.Report = func(Report) {}
	}
	s := &Source{opts: o, now: time.Now, told: map[notice]bool{}}
	s.server = s.base()
	s.server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if m := s.current.Load(); m != nil {
			return m.config, nil
		}
		return nil, errNotLoaded
	}
	return s
}

// Load reads the files for the first time. The error says all that is wrong
// with them. A certificate that has expired is no error: it is reported, and
// clients who look at the time refuse it. A broker that does not start because
// of that would cost those too who do not use the certificate.
func (s *Source) Load() error {
	_, err := s.Reload()
	return err
}

// Reload reads the files now and uses them from the next handshake on. It
// returns whether they had changed. If they are not good, or over while those
// in use are not, nothing changes.
func (s *Source) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.stat()
	c, err := s.opts.Files.read()
	if err == nil {
		s.last = c.sum()
		if old := s.current.Load(); old == nil || old.sum != s.last {
			changed, err = true, s.use(c)
		}
	}
	// The next look makes sure that this one was not in the middle of a change;
	// what is wrong already has been said.
	s.seen, s.settled, s.failing = seen, err != nil, ""
	if err != nil {
		if s.current.Load() != nil {
			s.opts.Report(Report{What: Rejected, Err: err})
		}
		return false, err
	}
	s.remind()
	return changed, nil
}

// use checks c and makes it what is in use.
func (s *Source) use(c contents) error {
	m, err := s.opts.Files.check(c)
	if err != nil {
		return err
	}
	if err := s.accepts(m); err != nil {
		return err
	}
	s.put(m, c.sum())
	return nil
}

// accepts says why m may not take the place of what is in use.
func (s *Source) accepts(m *material) error {
	if old := s.current.Load(); old == nil || old.expired(s.now()) != nil {
		return nil
	}
	return m.expired(s.now())
}

func (s *Source) put(m *material, sum [sha256.Size]byte) {
	old := s.current.Swap(&loaded{m, s.config(m), sum})
	now := time.Now() // not before: handshakes have had the old one until here
	s.since.Store(&now)
	if old != nil {
		s.opts.Report(Report{What: Reloaded})
	}
}

// Run looks for changes until ctx ends, and returns nil. A change is taken when
// two looks in a row have seen the same, so that files which are being written,
// or replaced one after the other, are left in peace.
func (s *Source) Run(ctx context.Context) error {
	s.opts.Rest.Look(ctx, rest.Looks{Pace: s.opts.Interval, Paths: s.opts.Files.paths, Look: s.look, Hints: s.opts.Hints})
	return nil
}

// look is one look at the files. It reports whether what it saw has been dealt with.
func (s *Source) look() (settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.remind()
	seen := s.stat()
	if s.settled && slices.EqualFunc(seen, s.seen, sameFile) {
		return true
	}
	s.settled = false
	again := slices.EqualFunc(seen, s.seen, sameFile)
	s.seen = seen
	c, err := s.opts.Files.read()
	var sum [sha256.Size]byte
	failing := ""
	if err == nil {
		sum = c.sum()
	} else {
		failing = err.Error()
	}
	again = again && sum == s.last && failing == s.failing
	s.last, s.failing = sum, failing
	if !again {
		return false
	}
	s.settled = true
	if err == nil {
		if old := s.current.Load(); old != nil && old.sum == sum {
			return true
		}
		err = s.use(c)
	}
	if err != nil {
		s.opts.Report(Report{What: Rejected, Err: err})
	}
	return true
}

// stat is what the file system says about the files, links followed.
func (s *Source) stat() []fs.FileInfo {
	f := s.opts.Files
	list := make([]fs.FileInfo, 0, 4)
	for _, path := range []string{f.Certificate, f.Key, f.ClientCA, f.CRL} {
		var info fs.FileInfo
		if path != "" {
			if i, err := os.Stat(path); err == nil {
				info = i
			}
		}
		list = append(list, info)
	}
	return list
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// remind says once of each thing that it ends soon, and that it is over.
func (s *Source) remind() {
	m := s.current.Load()
	if m == nil {
		return
	}
	now := m.clock(s.now())
	for _, f := range m.states {
		var r Report
		switch {
		case !f.Expiring(now):
			continue
		case f.Expired(now):
			r = Report{What: Expired, State: f, Err: f.expiredError()}
		default:
			r = Report{What: Expiring, State: f}
		}
		n := notice{r.What, f.Role, f.Path, f.Subject, f.NotAfter.Unix()}
		if !s.told[n] {
			s.told[n] = true
			s.opts.Report(r)
		}
	}
}

// States tells of everything in use when it ends. Empty before Load.
func (s *Source) States() []FileState {
	if m := s.current.Load(); m != nil {
		return slices.Clone(m.states)
	}
	return nil
}

// Names reports whether the broker's certificate in use is for host, a name or an
// IP address. Before Load it is for nobody.
func (s *Source) Names(host string) bool {
	m := s.current.Load()
	return m != nil && m.pair.Leaf.VerifyHostname(host) == nil
}

// errNotLoaded fails handshakes of a source that was never loaded.
var errNotLoaded = errors.New("no certificate has been loaded")

// TLSConfig is the configuration for a server's side of connections. Each
// handshake uses the files as loaded last, and each connection keeps what it
// was made with. Sessions can be resumed until the broker's certificate changes;
// the client's is verified again then. The result must not be changed.
func (s *Source) TLSConfig() *tls.Config { return s.server }
