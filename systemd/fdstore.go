package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// barrierTimeout bounds how long the manager may take to have read what it was
// sent.
const barrierTimeout = 3 * time.Second

// Managed reports whether a service manager wants to be told things.
func Managed() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Keep has the service manager keep f under a name, for the process of this unit
// that it starts next: see [Kept]. It returns when the manager has read that;
// whether it has done so it does not say, see [Unit]. f stays the caller's.
func Keep(name string, f *os.File) error {
	if err := sendRights("FDSTORE=1\nFDNAME="+name+"\nFDPOLL=0", f); err != nil {
		return fmt.Errorf("store a descriptor with the service manager: %w", err)
	}
	return barrier()
}

// Forget has the service manager close what it keeps under a name.
func Forget(name string) error { return Notify("FDSTOREREMOVE=1\nFDNAME=" + name) }

// barrier waits until the manager has read everything that it was sent.
func barrier() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("wait for the service manager: %w", err)
	}
	defer r.Close()
	err = sendRights("BARRIER=1", w)
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("wait for the service manager: %w", err)
	}
	if err := r.SetReadDeadline(time.Now().Add(barrierTimeout)); err != nil {
		return fmt.Errorf("wait for the service manager: %w", err)
	}
	var b [1]byte
	if _, err := r.Read(b[:]); errors.Is(err, os.ErrDeadlineExceeded) { // else the manager has closed its end
		return fmt.Errorf("wait for the service manager: %w", err)
	}
	return nil
}

// sendRights is Notify with a descriptor.
func sendRights(state string, f *os.File) error {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return errors.New("there is none")
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		failed = syscall.Sendmsg(int(fd), []byte(state), syscall.UnixRights(int(f.Fd())), nil, syscall.MSG_NOSIGNAL)
		return failed != syscall.EAGAIN
	})
	return errors.Join(err, failed)
}

// Kept is the number of the descriptor that the service manager has kept under a
// name for this process, -1 if there is none. It takes nothing away: a program
// that is run in place of this one finds it, too, unless Sockets was called.
func Kept(name string) int {
	count, names, err := passed(os.Getenv, os.Getpid())
	if err != nil {
		return -1
	}
	for i, n := range names {
		if n == name && i < count {
			return firstFD + i
		}
	}
	return -1
}

// OthersPassed reports whether the service manager has passed anything else than
// what it has kept under a name.
func OthersPassed(name string) bool {
	count, names, err := passed(os.Getenv, os.Getpid())
	for i := range min(count, len(names)) {
		if names[i] == name {
			count--
		}
	}
	return err == nil && count > 0
}

// errUnit is wrapped by the errors of Unit.
var errUnit = errors.New("cannot ask the service manager")

// UnitState is what the service manager says of the unit of this process.
type UnitState struct {
	Job       string // what it is doing to the unit: "stop", "restart", ...; "" if nothing
	StoreMax  int    // descriptors that it would keep
	StoreUsed int    // that it keeps
}

// Unit asks the service manager, over the system bus, about the unit of this
// process. It takes at most as long as timeout.
func Unit(timeout time.Duration) (u UnitState, err error) {
	addr := "/run/dbus/system_bus_socket"
	if path, ok := strings.CutPrefix(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path="); ok {
		addr, _, _ = strings.Cut(path, ",")
	}
	b, err := dialBus(addr, timeout)
	if err != nil {
		return u, fmt.Errorf("%w: %w", errUnit, err)
	}
	defer b.close()
	if u, err = b.unit(); err != nil {
		return u, fmt.Errorf("%w: %w", errUnit, err)
	}
	return u, nil
}

func (b *bus) unit() (u UnitState, err error) {
	const (
		manager = "org.freedesktop.systemd1.Manager"
		unit    = "org.freedesktop.systemd1.Unit"
		service = "org.freedesktop.systemd1.Service"
	)
	reply, err := b.call("/org/freedesktop/systemd1", manager, "GetUnitByPID", "u", func(m *marshal) { m.u32(uint32(os.Getpid())) })
	if err != nil {
		return u, err
	}
	path := reply.text()
	for _, p := range []struct {
		iface, name string
		take        func(*unmarshal)
	}{
		{service, "FileDescriptorStoreMax", func(v *unmarshal) { u.StoreMax = int(v.variantU32()) }},
		{service, "NFileDescriptorStore", func(v *unmarshal) { u.StoreUsed = int(v.variantU32()) }},
	} {
		v, err := b.get(path, p.iface, p.name)
		if err != nil {
			return u, err
		}
		if p.take(v); v.bad {
			return u, fmt.Errorf("property %s has another form", p.name)
		}
	}
	v, err := b.get(path, unit, "Job")
	if err != nil {
		return u, err
	}
	id, job := v.variantJob()
	if v.bad {
		return u, errors.New("property Job has another form")
	}
	if id == 0 {
		return u, nil
	}
	if v, err = b.get(job, "org.freedesktop.systemd1.Job", "JobType"); err != nil {
		return u, err
	}
	if u.Job = v.variantText(); v.bad {
		return u, errors.New("property JobType of job " + strconv.FormatUint(uint64(id), 10) + " has another form")
	}
	return u, nil
}
