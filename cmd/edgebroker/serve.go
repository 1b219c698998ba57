package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/systemd"
)

// stopWait bounds the time from the first signal to the end of the process.
const stopWait = 10 * time.Second

func serveCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the broker until it is told to stop",
		UsageText: `edgebroker serve                               on 127.0.0.1:1883, for this machine
edgebroker serve --config /etc/edgebroker/edgebroker.yml
edgebroker serve --listen 127.0.0.1:0          on any free port, which the log names`,
		Description: `Flags win over the environment, which wins over the config file. Where none of
them names a folder for the state, it is the one that systemd made for the unit
($STATE_DIRECTORY). The log goes to stderr. SIGINT and SIGTERM stop the broker, at the latest after ten seconds; a
second one ends it at once. SIGUSR2 puts the program that lies at its path by then in its place, and clients
notice nothing; so does a restart by systemd. See docs/UPGRADE.md.`,
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "config", Aliases: []string{"c"}, Usage: "read the configuration from `FILE`", DefaultText: "none: see edgebroker config example", TakesFile: true},
			&cli.StringFlag{Name: "listen", Usage: "listen on `ADDR`, HOST:PORT or a unix socket's path, in place of the first listener's address ($" + appliance.EnvListen + ")"},
			&cli.PathFlag{Name: "socket", Aliases: []string{"s"}, Usage: "put the control socket at `PATH` ($" + appliance.EnvSocket + ")", DefaultText: appliance.DefaultSocket(), TakesFile: true},
			&cli.PathFlag{Name: "data", Usage: "keep state in the folder `DIR` ($" + appliance.EnvData + ")", DefaultText: "$STATE_DIRECTORY under systemd", TakesFile: true},
			&cli.StringFlag{Name: "log-level", Usage: "log from `LEVEL` on: debug, info, warn, error ($" + appliance.EnvLogLevel + ")", DefaultText: "info"},
		},
		Action: func(c *cli.Context) error { return runServe(e, c) },
	}
}

func runServe(e *env, c *cli.Context) error {
	if _, err := e.positionals(c, 0, 0); err != nil {
		return err
	}
	early, _ := appliance.NewLogger(appliance.DefaultConfig().Log, e.stderr) // that of the config comes later
	came := &arrival{}
	if os.Getenv(envTrial) == "" {
		came = takeOver(early)
	}
	up := false
	err := serve(e, c, came, &up)
	if err != nil && !up {
		return came.failed(early, err)
	}
	return err
}

// serve runs a broker until it is told to stop. up says that it has begun to.
func serve(e *env, c *cli.Context, came *arrival, up *bool) error {
	cfg, err := serveConfig(c)
	if err != nil {
		return serveFailure(err)
	}
	hangups, deaf := hearHangups() // from here to the end: one that nobody hears ends the process
	defer deaf()
	log, level := appliance.NewLogger(cfg.Log, e.stderr)
	if os.Getenv(envTrial) != "" {
		return e.trial(cfg)
	}
	defer fitMemory(os.Getenv)()
	sockets, err := systemd.Sockets(handover.Name)
	if err != nil {
		return err
	}
	service := &manager{log: log}
	b, err := appliance.New(cfg, append(append(came.options(), service.options()...), appliance.WithLogger(log), appliance.WithVersion(readBuildInfo().Version),
		appliance.WithSockets(sockets), appliance.WithLogLevel(level), appliance.WithProcessMemory(),
		appliance.WithConfigSource(func() (appliance.Config, error) { return serveConfig(c) }))...)
	if err != nil {
		return serveFailure(err)
	}
	upgrades, deafToUpgrades := hear(syscall.SIGUSR2)
	defer deafToUpgrades()
	stops, deafToStops := hear(syscall.SIGUSR1)
	defer deafToStops()
	if err := b.Start(c.Context); err != nil {
		if c.Context.Err() != nil {
			return nil // told to stop before it had begun
		}
		err = fmt.Errorf("start broker: %w", err)
		if errors.Is(err, appliance.ErrAccess) || errors.As(err, new(*certs.FileError)) { // these files are part of the configuration
			return serveFailure(err)
		}
		return err
	}
	announce(log, cfg, b.Addr, b.HTTPAddr())
	*up = true
	service.tell(systemd.Ready())
	came.done(log)
	unwatch := service.watch(b)

	go func() { // not waited for: if a reload hangs, so must not the stop
		for range hangups {
			_, _ = b.Reload(context.Background()) // it logs how that went
		}
	}()
	err, over := error(nil), false
	for asked := true; asked && !over; {
		select {
		case <-upgrades:
			over, err = upgrade(c.Context, log, b, stopWait+b.Spread(), stops)
		case <-c.Context.Done():
			asked = false
		}
	}
	if !over {
		log.Info("stopping")
		service.tell(systemd.Stopping())
		err = quit(log, b, stopWait+b.Spread(), stops)
	}
	unwatch()
	if err != nil {
		return fmt.Errorf("stop broker: %w", err)
	}
	log.Info("stopped")
	return nil
}

// serveConfig is the config file, if one is named, with what the environment
// and the flags say on top. The folder for the state is that of the service
// manager when none of them names one.
func serveConfig(c *cli.Context) (appliance.Config, error) {
	cfg := appliance.DefaultConfig()
	if path := c.Path("config"); path != "" {
		var err error
		if cfg, err = appliance.LoadConfig(path); err != nil {
			return cfg, err
		}
	}
	if cfg.Storage.Directory == "" {
		cfg.Storage.Directory = systemd.StateDirectory()
	}
	if err := cfg.ApplyEnv(os.Getenv); err != nil {
		return cfg, err
	}
	data := c.Path("data")
	if data != "" {
		var err error
		if data, err = filepath.Abs(data); err != nil {
			return cfg, fmt.Errorf("find folder of %s: %w", appliance.FlagData, err)
		}
	}
	flags := map[string]string{
		appliance.FlagListen:   c.String("listen"),
		appliance.FlagSocket:   c.Path("socket"),
		appliance.FlagLogLevel: c.String("log-level"),
		appliance.FlagData:     data,
	}
	return cfg, cfg.ApplyFlags(func(name string) string { return flags[name] })
}

// announce says where the broker can be reached, by whom, and what it does not
// keep. addr tells the bound address of a listener, web that for browsers.
func announce(log *slog.Logger, cfg appliance.Config, addr func(listener string) string, web string) {
	for _, l := range cfg.Listeners {
		log := log.With("listener", l.Name, "address", l.ForClients(addr(l.Name)))
		switch {
		case l.Local() && cfg.Anonymous(l):
			log.Info("listening for this machine only, no password asked; to let devices in, see `edgebroker config example`")
		case l.Local():
			log.Info("listening for this machine only, clients that do not sign in are refused")
		case l.Secure() && l.AsksFor() == appliance.ClientCertificatesRequired:
			log.Info("listening for the network, clients without a certificate are refused")
		case cfg.Anonymous(l):
			log.Warn("listening for the network, no password asked: whoever reaches this address can read and write everything")
		default:
			log.Info("listening for the network, clients that do not sign in are refused")
		}
	}
	if web != "" {
		scheme := "http://"
		if cfg.HTTP.TLS.Certificate != "" {
			scheme = "https://"
		}
		log.Info("answering programs and, if there is a dashboard, browsers", "address", scheme+web, "dashboard", cfg.HTTP.HasDashboard())
	}
	if dir := cfg.Storage.Directory; dir != "" {
		log.Info("state is stored: what is acknowledged survives a crash", "directory", dir, "durability", cfg.Storage.Durability)
	} else {
		log.Info("state is kept in memory: sessions, queued and retained messages are lost when the broker stops; to store it, see --data")
	}
	log.Info("ready; watch with `edgebroker stats` and `edgebroker events`", "control", cfg.Control.Path(), "version", readBuildInfo().Version)
}

// hearHangups sends SIGHUPs, of which one waits, until deaf is called. It
// leaves the signal alone if it is ignored, as by nohup.
func hearHangups() (hangups <-chan os.Signal, deaf func()) {
	heard := make(chan os.Signal, 1)
	if signal.Ignored(syscall.SIGHUP) {
		return heard, func() { close(heard) }
	}
	signal.Notify(heard, syscall.SIGHUP)
	return heard, func() {
		signal.Stop(heard)
		close(heard)
	}
}

// stopWithin calls stop with a context of length wait. If it has not returned
// a second after that, stopWithin returns an error without it: the process
// ends anyway.
func stopWithin(wait time.Duration, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- stop(ctx) }()
	late := time.NewTimer(wait + time.Second)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("still not stopped after %v", wait)
	}
}
