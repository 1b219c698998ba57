package moving

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
)

// Where a setting stands in the config that a case makes of it.
const (
	inGeneral  = "%s\nlistener 1883 127.0.0.1\n"
	atListener = "listener 1883 127.0.0.1\n%s\n"
	withTLS    = "listener 8883 127.0.0.1\ncertfile /c\nkeyfile /k\n%s\n"
	withCA     = "listener 8883 127.0.0.1\ncertfile /c\nkeyfile /k\ncafile /ca\nrequire_certificate true\n%s\n"
	inBridge   = "connection b\naddress h:1\ntopic x out\n%s\n"
	withBridge = "connection b\naddress h:1\n%s\n"
	toBridge   = "connection b\ntopic x out\n%s\n"
	alone      = "%s\n"
)

// optionCase is one setting, what becomes of it, and a line that stands in the
// config then; with ! in front, one that does not.
type optionCase struct {
	at, line string
	verdict  Verdict
	security bool
	has      string
}

func optionCases() []optionCase {
	return []optionCase{
		{inGeneral, "acl_file DIR/acl", Converted, false, "rules:"},
		{inGeneral, "acl_file DIR/none", Impossible, true, "rules:"},
		{inGeneral, "allow_anonymous true", Converted, false, "allow_anonymous: true"},
		{inGeneral, "allow_anonymous 1", Converted, false, "allow_anonymous: true"},
		{inGeneral, "allow_anonymous false", Converted, false, "allow_anonymous: false"},
		{inGeneral, "allow_anonymous yes", Impossible, true, "allow_anonymous: false"},
		{inGeneral, "allow_anonymous", Impossible, true, "allow_anonymous: false"},
		{inGeneral, "allow_duplicate_messages false", NotNeeded, false, ""},
		{inGeneral, "allow_zero_length_clientid false", Impossible, false, ""},
		{inGeneral, "allow_zero_length_clientid true", NotNeeded, false, ""},
		{inGeneral, "auth_plugin /p.so", Impossible, true, "rules:"},
		{inGeneral, "plugin /p.so", Impossible, true, "rules:"},
		{inGeneral, "global_plugin /p.so", Impossible, true, "rules:"},
		{inGeneral, "auth_opt_host x", Impossible, true, ""},
		{"auth_plugin /p.so\n" + inGeneral, "auth_opt_host x", NotNeeded, false, ""},
		{"plugin /p.so\n" + inGeneral, "plugin_opt_host x", NotNeeded, false, ""},
		{inGeneral, "auth_plugin_deny_special_chars true", NotNeeded, false, ""},
		{inGeneral, "auto_id_prefix x-", NotNeeded, false, ""},
		{inGeneral, "autosave_interval 60", NotNeeded, false, ""},
		{inGeneral, "autosave_on_changes true", NotNeeded, false, ""},
		{inGeneral, "check_retain_source true", Impossible, false, ""},
		{inGeneral, "clientid_prefixes dev-", Changed, false, "rules:"},
		{inGeneral, "connection_messages false", NotNeeded, false, ""},
		{inGeneral, "enable_control_api true", NotNeeded, false, ""},
		{inGeneral, "global_max_clients 50", Converted, false, "max_sessions: 50"},
		{inGeneral, "global_max_clients -1", NotNeeded, false, ""},
		{inGeneral, "global_max_connections 60", Converted, false, "max_connections: 60"},
		{inGeneral, "global_max_connections 0", Impossible, true, ""},
		{inGeneral, "include_dir DIR/empty.d", NotNeeded, false, ""},
		{inGeneral, "log_dest stderr", Converted, false, ""},
		{inGeneral, "log_dest stdout", Changed, false, ""},
		{inGeneral, "log_dest syslog", Changed, false, ""},
		{inGeneral, "log_dest topic", Impossible, false, ""},
		{inGeneral, "log_dest dlt", Impossible, false, ""},
		{inGeneral, "log_dest file /var/log/m log", Changed, false, ""},
		{inGeneral, "log_dest none", Changed, false, "level: error"},
		{inGeneral, "log_dest else", Impossible, false, ""},
		{inGeneral, "log_facility 5", NotNeeded, false, ""},
		{inGeneral, "log_timestamp true", NotNeeded, false, ""},
		{inGeneral, "log_timestamp_format %Y", NotNeeded, false, ""},
		{inGeneral, "log_type all", Converted, false, "level: debug"},
		{inGeneral, "log_type warning", Converted, false, "level: warn"},
		{inGeneral, "log_type notice", Converted, false, "level: info"},
		{inGeneral, "log_type none", Changed, false, "level: error"},
		{inGeneral, "log_type subscribe", Changed, false, "!level:"},
		{inGeneral, "log_type websockets", NotNeeded, false, ""},
		{inGeneral, "log_type x", Impossible, false, ""},
		{inGeneral, "max_inflight_bytes 1000", Impossible, false, ""},
		{inGeneral, "max_inflight_messages 20", Converted, false, "max_inflight: 20"},
		{inGeneral, "max_inflight_messages 0", Changed, false, "max_inflight: 65535"},
		{inGeneral, "max_inflight_messages 70000", Impossible, false, "!max_inflight"},
		{inGeneral, "max_keepalive 60", Impossible, false, ""},
		{inGeneral, "max_keepalive 65535", NotNeeded, false, ""},
		{inGeneral, "max_inflight_bytes 0", NotNeeded, false, ""},
		{inGeneral, "check_retain_source false", NotNeeded, false, ""},
		{inBridge, "bridge_max_packet_size 0", NotNeeded, false, ""},
		{inGeneral, "max_packet_size 2000", Converted, false, "max_packet_size: 2KB"},
		{inGeneral, "max_packet_size 100", Changed, false, "max_packet_size: 1KiB"},
		{inGeneral, "max_packet_size 268435455", Converted, false, "total_queued_bytes: 268435455B"},
		{inGeneral, "max_packet_size 10", Impossible, false, "!max_packet_size:"},
		{inGeneral, "message_size_limit 1000", Changed, false, "max_packet_size: 66536B"},
		{inGeneral, "message_size_limit 0", NotNeeded, false, "!max_packet_size:"},
		{inGeneral, "max_queued_bytes 5000000", Converted, false, "max_queued_bytes: 5MB"},
		{inGeneral, "max_queued_bytes 10", Changed, false, "max_queued_bytes: 1MiB"},
		{inGeneral, "max_queued_bytes 0", Changed, false, "!max_queued_bytes"},
		{inGeneral, "max_queued_messages 500", Converted, false, "max_queued_messages: 500"},
		{inGeneral, "max_queued_messages 0", Changed, false, "max_queued_messages: 2147483647"},
		{inGeneral, "max_topic_alias_broker 5", NotNeeded, false, ""},
		{inGeneral, "memory_limit 100000000", Changed, false, "memory: 100MB"},
		{inGeneral, "memory_limit 1000000", Impossible, false, "!memory:"},
		{inGeneral, "memory_limit 0", NotNeeded, false, ""},
		{inGeneral, "packet_buffer_size 4096", NotNeeded, false, ""},
		{inGeneral, "password_file DIR/passwords", Converted, false, "passwords:"},
		{inGeneral, "password_file DIR/none", Impossible, true, "passwords:"},
		{inGeneral, "per_listener_settings true", Converted, false, ""},
		{"password_file DIR/passwords\n" + inGeneral, "per_listener_settings true", Impossible, true, ""},
		{inGeneral, "persistence true", Changed, false, "directory: /data"},
		{inGeneral, "persistence false", Converted, false, "!directory"},
		{inGeneral, "retained_persistence true", Changed, false, "directory: /data"},
		{inGeneral, "persistence_file m.db", NotNeeded, false, ""},
		{inGeneral, "persistence_location /var/lib/mosquitto/", NotNeeded, false, ""},
		{inGeneral, "persistent_client_expiration 2m", Converted, false, "max_expiry: 60d"},
		{inGeneral, "persistent_client_expiration 3h", Converted, false, "max_expiry: 3h"},
		{inGeneral, "persistent_client_expiration 900y", Changed, false, "max_expiry: 49710d"},
		{inGeneral, "persistent_client_expiration 9", Impossible, false, ""},
		{inGeneral, "persistent_client_expiration d", Impossible, false, ""},
		{inGeneral, "pid_file /run/m.pid", NotNeeded, false, ""},
		{inGeneral, "psk_file /psk", Impossible, true, ""},
		{inGeneral, "queue_qos0_messages true", Impossible, false, ""},
		{inGeneral, "queue_qos0_messages false", NotNeeded, false, ""},
		{inGeneral, "retain_available false", Impossible, false, ""},
		{inGeneral, "retain_available true", NotNeeded, false, ""},
		{inGeneral, "retry_interval 20", NotNeeded, false, ""},
		{inGeneral, "set_tcp_nodelay true", NotNeeded, false, ""},
		{inGeneral, "sys_interval 30", Converted, false, "interval: 30s"},
		{inGeneral, "sys_interval 0", Converted, false, "interval: 0s"},
		{inGeneral, "upgrade_outgoing_qos true", Impossible, false, ""},
		{inGeneral, "user mosquitto", NotNeeded, false, ""},
		{inGeneral, "websockets_headers_size 0", NotNeeded, false, ""},
		{inGeneral, "websockets_log_level 1", NotNeeded, false, ""},
		{inGeneral, "no_such_setting true", Impossible, true, ""},

		{alone, "port 1884", Converted, false, `address: ":1884"`},
		{alone, "port 0", Impossible, true, "name: nobody"},
		{alone, "bind_address 127.0.0.1", Converted, false, `address: "127.0.0.1:1883"`},
		{alone, "max_connections 5", Changed, false, `address: "127.0.0.1:1883"`},
		{alone, "listener 1884", Converted, false, `address: ":1884"`},
		{alone, "listener 1884 ::1", Converted, false, `address: "[::1]:1884"`},
		{alone, "listener 1884 localhost", Converted, false, `address: "localhost:1884"`},
		{alone, "listener 0 /run/m.sock", Changed, false, "type: unix"},
		{alone, "listener 0 m.sock", Impossible, true, "name: nobody"},
		{alone, "listener 0", Impossible, true, "name: nobody"},
		{alone, "listener x", Impossible, true, "name: nobody"},
		{"listener 1884\n%s\n", "listener 1884 127.0.0.1", Impossible, true, "!127.0.0.1"},
		{alone, "listener 1883 a!b", Impossible, true, "name: nobody"},
		{atListener, "accept_protocol_versions 4, 5", Converted, false, `mqtt_versions: ["3.1.1", "5"]`},
		{atListener, "accept_protocol_versions 7", Impossible, true, "name: nobody"},
		{atListener, "bind_interface eth0", Impossible, true, "name: nobody"},
		{atListener, "enable_proxy_protocol 2", Impossible, true, "name: nobody"},
		{atListener, "proxy_protocol_v2_require_tls true", Impossible, true, "name: nobody"},
		{atListener, "http_dir /www", Impossible, false, ""},
		{atListener, "listener_allow_anonymous true", Converted, false, "allow_anonymous: true"},
		{atListener, "listener_auto_id_prefix x", NotNeeded, false, ""},
		{atListener, "max_connections 100", Converted, false, "max_connections: 100"},
		{atListener, "max_connections 20000", Converted, false, "max_connections: 20000"},
		{atListener, "max_connections -1", NotNeeded, false, "!max_connections"},
		{atListener, "max_qos 1", Impossible, false, ""},
		{atListener, "maximum_qos 2", NotNeeded, false, ""},
		{atListener, "max_topic_alias 10", Converted, false, "max_topic_alias: 10"},
		{atListener, "mount_point x/", Impossible, true, "name: nobody"},
		{atListener, "protocol mqtt", Converted, false, "type: tcp"},
		{atListener, "protocol websockets", Changed, false, "type: ws"},
		{atListener, "protocol quic", Impossible, true, "name: nobody"},
		{atListener, "socket_domain ipv4", Converted, false, ""},
		{"listener 1883\n%s\n", "socket_domain ipv4", Converted, false, `"0.0.0.0:1883"`},
		{"listener 1883\n%s\n", "socket_domain ipv6", Impossible, true, "name: nobody"},
		{"listener 1883 ::1\n%s\n", "socket_domain ipv6", Converted, false, "[::1]:1883"},
		{atListener, "websockets_origin https://a.example", Impossible, false, "!allowed_origins"},
		{atListener, "websockets_origin a.example", Impossible, false, "!allowed_origins"},
		{atListener + "protocol websockets\n", "websockets_origin https://a.example", Converted, false, `allowed_origins: ["https://a.example"]`},
		{atListener, "use_username_as_clientid true", Changed, false, "allow_anonymous: false"},
		{"allow_anonymous true\n" + atListener, "use_username_as_clientid true", Changed, false, "allow_anonymous: false"},

		{atListener, "certfile /c", Impossible, true, "name: nobody"},
		{atListener, "cafile /ca", Impossible, true, "name: nobody"},
		{atListener, "require_certificate true", Impossible, true, "name: nobody"},
		{atListener, "require_certificate false", NotNeeded, false, ""},
		{withTLS, "cafile /ca", NotNeeded, false, "!client_ca"},
		{withTLS, "capath /ca.d", NotNeeded, false, ""},
		{withTLS, "crlfile /crl", NotNeeded, false, ""},
		{withTLS, "certfile /d", Impossible, true, "name: nobody"},
		{withTLS, "ciphers HIGH", Changed, false, ""},
		{withTLS, "ciphers_tls1.3 X", Changed, false, ""},
		{withTLS, "dhparamfile /dh", NotNeeded, false, ""},
		{withTLS, "require_certificate true", Impossible, true, "name: nobody"},
		{withTLS, "use_identity_as_username true", Impossible, true, "name: nobody"},
		{withTLS, "tls_engine pkcs11", Impossible, true, "name: nobody"},
		{withTLS, "tls_engine_kpass_sha1 abcd", Impossible, true, "name: nobody"},
		{withTLS, "tls_keyform engine", Impossible, true, "name: nobody"},
		{withTLS, "tls_keyform pem", NotNeeded, false, "type: tls"},
		{withTLS, "tls_version tlsv1.3", Converted, false, `min_version: "1.3"`},
		{withTLS, "tls_version tlsv1.2", Converted, false, "!min_version"},
		{withTLS, "tls_version tlsv1.1", Changed, false, "!min_version"},
		{withTLS, "tls_version sslv3", Impossible, true, "name: nobody"},
		{withTLS, "psk_hint h", Impossible, true, "name: nobody"},
		{withTLS, "keyfile /k2", Impossible, true, "name: nobody"},
		{withTLS, "protocol websockets", Changed, false, "type: wss"},
		{withCA, "crlfile /crl", Converted, false, "crl: /crl"},
		{withCA, "use_identity_as_username true", Converted, false, "sources: [certificates]"},
		{withCA, "use_subject_as_username true", Impossible, true, "name: nobody"},
		{withCA, "use_subject_as_username false", NotNeeded, false, "type: tls"},
		{withCA + "use_identity_as_username true\n", "use_subject_as_username true", NotNeeded, false, "sources: [certificates]"},
		{withCA, "capath /ca.d", Impossible, false, "client_ca: /ca"},
		{withCA, "disable_client_cert_date_checks true", Changed, false, ""},
		{withCA, "disable_client_cert_date_checks false", NotNeeded, false, ""},

		{withBridge + "topic x out\n", "bridge_identity x", Impossible, true, "!bridges"},
		{inBridge, "bridge_psk feedf00d", Impossible, true, "!bridges"},
		{toBridge, "address example.com", Converted, false, `address: "mqtt://example.com:1883"`},
		{toBridge, "addresses example.com:1 example.com:2", Changed, false, `address: "mqtt://example.com:1"`},
		{toBridge, "address ::1:1884", Converted, false, `address: "mqtt://[::1]:1884"`},
		{toBridge, "address h:x", Impossible, true, "!bridges"},
		{inBridge, "bridge_alpn mqtt", Impossible, false, ""},
		{inBridge, "bridge_attempt_unsubscribe false", NotNeeded, false, ""},
		{inBridge, "bridge_bind_address 127.0.0.1", Impossible, false, ""},
		{inBridge, "bridge_cafile /ca", Converted, false, "mqtts://h:1"},
		{inBridge, "bridge_capath /etc/ssl/certs", NotNeeded, false, "mqtts://h:1"},
		{inBridge, "bridge_capath /ca.d", Impossible, true, "!bridges"},
		{inBridge, "bridge_certfile /c", Impossible, true, "!bridges"},
		{inBridge + "bridge_cafile /ca\nbridge_keyfile /k\n", "bridge_certfile /c", Converted, false, "certificate: /c"},
		{inBridge + "bridge_cafile /ca\nbridge_certfile /c\n", "bridge_keyfile /k", Converted, false, "key: /k"},
		{inBridge, "bridge_ciphers HIGH", Changed, false, ""},
		{inBridge, "bridge_ciphers_tls1.3 X", Changed, false, ""},
		{inBridge + "bridge_cafile /ca\n", "bridge_insecure true", Changed, false, "mqtts://"},
		{inBridge, "bridge_insecure false", NotNeeded, false, ""},
		{inBridge, "bridge_max_packet_size 1000", Impossible, false, ""},
		{inBridge, "bridge_max_topic_alias 10", NotNeeded, false, ""},
		{inBridge, "bridge_outgoing_retain false", Converted, false, "retain: false"},
		{inBridge, "bridge_protocol_version mqttv50", Converted, false, `version: "5"`},
		{inBridge, "bridge_protocol_version mqttv311", Converted, false, `version: "3.1.1"`},
		{inBridge, "bridge_protocol_version mqttv31", Changed, false, `version: "3.1.1"`},
		{inBridge, "bridge_receive_maximum 5", NotNeeded, false, ""},
		{inBridge, "bridge_reload_type immediate", NotNeeded, false, ""},
		{inBridge, "bridge_require_ocsp true", Impossible, true, "!bridges"},
		{inBridge, "bridge_require_ocsp false", NotNeeded, false, "bridges"},
		{inBridge, "bridge_session_expiry_interval 60", Converted, false, "session_expiry: 1m"},
		{inBridge, "bridge_session_expiry_interval 0", Changed, false, "session_expiry: 1s"},
		{inBridge, "bridge_tcp_keepalive 1 2 3", NotNeeded, false, ""},
		{inBridge, "bridge_tcp_user_timeout 5", NotNeeded, false, ""},
		{inBridge, "bridge_tls_version tlsv1.2", Converted, false, ""},
		{inBridge, "bridge_tls_version tlsv1.3", Changed, false, ""},
		{inBridge, "bridge_tls_version tlsv1.1", Changed, false, ""},
		{inBridge, "cleansession true", Changed, false, "session_expiry: 1s"},
		{inBridge, "cleansession false", Converted, false, "!session_expiry"},
		{inBridge, "clientid me", Converted, false, "client_id: me"},
		{inBridge, "remote_clientid me too", Converted, false, `client_id: "me too"`},
		{inBridge, "remote_clientid $me", Impossible, true, "!bridges"},
		{alone, "connection b", Impossible, true, "!bridges"},
		{"%s\naddress h:1\ntopic x out\n", "connection b", Converted, false, "client_id: host.b"},
		{"%s\naddress h:1\ntopic x out\n", "connection a/b", Changed, false, "name: a-b"},
		{inBridge, "idle_timeout 60", NotNeeded, false, ""},
		{inBridge, "keepalive_interval 20", Converted, false, "keep_alive: 20s"},
		{inBridge, "keepalive_interval 1", Converted, false, "keep_alive: 5s"},
		{inBridge, "local_cleansession true", Changed, false, ""},
		{inBridge, "local_clientid x", NotNeeded, false, ""},
		{inBridge, "local_username x", NotNeeded, false, ""},
		{inBridge, "local_password x", NotNeeded, false, ""},
		{inBridge, "notification_topic x", Impossible, false, ""},
		{inBridge, "notifications true", Changed, false, ""},
		{inBridge, "notifications false", Impossible, false, ""},
		{inBridge, "notifications_local_only true", NotNeeded, false, ""},
		{inBridge, "remote_username ann", Converted, false, "username: ann"},
		{inBridge, "username ann", Converted, false, "username: ann"},
		{inBridge, "remote_password hush-hush", NotNeeded, false, "!password"},
		{inBridge + "remote_username u\n", "remote_password hush-hush", Converted, false, `password: "file:/out/bridge-b.password"`},
		{inBridge + "remote_username u\n", "password hush-hush", Converted, false, `password: "file:/out/bridge-b.password"`},
		{inBridge, "restart_timeout 10 60", Changed, false, "retry_max: 1m"},
		{inBridge, "restart_timeout 20", Changed, false, "retry_min: 20s"},
		{inBridge, "restart_timeout 60 10", Impossible, false, "!retry"},
		{inBridge, "round_robin true", NotNeeded, false, ""},
		{inBridge, "start_type automatic", Converted, false, ""},
		{inBridge, "start_type lazy", Changed, false, ""},
		{inBridge, "start_type manual", Impossible, false, ""},
		{inBridge, "threshold 5", NotNeeded, false, ""},
		{inBridge, "try_private false", NotNeeded, false, ""},
		{withBridge, "topic a/#", Converted, false, "qos: 0"},
		{withBridge, "topic a/# in 1 l/ r/", Converted, false, "remote_prefix: r/"},
		{withBridge, "topic a/# BOTH 2", Converted, false, `version: "5"`},
		{withBridge, `topic # out 1 "" r/`, Converted, false, "!local_prefix"},
		{withBridge, `topic "" out 1 l/t r/t`, Converted, false, "filter: t"},
		{withBridge, `topic "" out 1 l r`, Impossible, false, "!bridges"},
		{withBridge, `topic "" out 1 l`, Impossible, false, "!bridges"},
		{withBridge, "topic c in 0 t/ $SYS/broker/", Impossible, false, "!bridges"},
		{withBridge, "topic a sideways", Impossible, false, "!bridges"},
		{withBridge, "topic a out 3", Impossible, false, "!bridges"},
		{withBridge, "topic a+ out", Impossible, false, "!bridges"},
		{inBridge, "topic x out 1", Changed, false, ""},
		{alone, "topic x out", Impossible, true, ""},
	}
}

// imported converts text, with a folder of files as DIR.
func imported(t testing.TB, text string, version Version) (*Result, string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "acl"), "topic read a\n")
	write(t, filepath.Join(dir, "passwords"), "ann:$6$U+qg0/32F0g2Fh+n$fBPSkq/rfNyEQ/TkEjRgwGTTVBpvNhKSyGShovH9KHewsvJ731tD5Zx26IHhR5RYCICt0L9qBW0/KK31UkCliw==\n")
	if err := os.Mkdir(filepath.Join(dir, "empty.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "mosquitto.conf")
	write(t, path, strings.ReplaceAll(text, "DIR", dir))
	r, err := Convert(Options{File: path, Dir: dir, Out: "/out", Data: "/data", Host: "host", Version: version})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r, dir
}

// Each setting that mosquitto has comes to what it should, in a config that is
// valid.
func TestEachOption(t *testing.T) {
	tried := map[string]bool{}
	for _, c := range optionCases() {
		name, _, _ := strings.Cut(c.line, " ")
		tried[name] = true
		text := fmt.Sprintf(c.at, c.line)
		r, dir := imported(t, text, Unknown)
		line := slices.Index(strings.Split(text, "\n"), c.line) + 1
		i := slices.IndexFunc(r.Report, func(e Outcome) bool {
			return e.Line == line && strings.HasSuffix(e.File, "mosquitto.conf")
		})
		if i < 0 {
			t.Errorf("%q: line %d is not in the report", text, line)
			continue
		}
		e := r.Report[i]
		if e.Verdict != c.verdict || e.Security != c.security {
			t.Errorf("%q: got %q, security %v: %s", text, e.Verdict, e.Security, e.Note)
		}
		if e.Verdict != Converted && e.Note == "" {
			t.Errorf("%q: %q, and does not say why", text, e.Verdict)
		}
		yml := string(r.Files[0].Data)
		has, not := strings.CutPrefix(c.has, "!")
		if strings.Contains(yml, has) == not && c.has != "" {
			t.Errorf("%q: has to have %q\n%s", text, c.has, strings.ReplaceAll(yml, dir, "DIR"))
		}
	}
	for name := range options() {
		if !tried[name] {
			t.Errorf("%s is not tried", name)
		}
	}
	for _, missing := range slices.Sorted(maps.Keys(tried)) {
		if _, known := options()[missing]; !known && !strings.Contains(missing, "_opt_") && missing != "no_such_setting" {
			t.Errorf("%s is tried, and is no option", missing)
		}
	}
}

// The manual that is installed names no setting that is not known here.
func TestOptionsAreThoseOfTheManual(t *testing.T) {
	f, err := os.Open("/usr/share/man/man5/mosquitto.conf.5.gz")
	if err != nil {
		t.Skip("the manual of mosquitto.conf is not installed")
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	known, n := options(), 0
	for _, m := range regexp.MustCompile(`(?m)^\.PP\n(\\fB.*)\n\.RS 4$`).FindAllSubmatch(text, -1) {
		for part := range bytes.SplitSeq(m[1], []byte(", ")) {
			name := regexp.MustCompile(`^\\fB([a-z0-9_.&\\*]+)\\fR`).FindSubmatch(part)
			if name == nil {
				continue
			}
			n++
			option := strings.NewReplacer(`\&`, "", `\`, "").Replace(string(name[1]))
			if _, found := known[option]; !found && option != "auth_opt_*" {
				t.Errorf("the manual has %q, which nobody knows here", option)
			}
		}
	}
	if n < 100 {
		t.Errorf("the manual has %d settings only: the test does not test", n)
	}
}

// Whatever is left out, what is made never has an open door that nobody has
// asked for.
func TestNothingIsOpenByAccident(t *testing.T) {
	for _, c := range optionCases() {
		text := fmt.Sprintf(c.at, c.line)
		r, _ := imported(t, text, Unknown)
		for _, l := range r.Config.Listeners {
			asked := strings.Contains(text, "anonymous true") || strings.Contains(text, "anonymous 1")
			here := l.Local() && !strings.Contains(text, "listener") && !strings.HasPrefix(text, "bind_address")
			if r.Config.Anonymous(l) && !asked && !here {
				t.Errorf("%q: everybody may come in at %s", text, l.Address)
			}
			if l.Type != appliance.ListenUnix && !l.Local() && !strings.Contains(text, "port ") && !regexp.MustCompile(`listener \d+(\n|$)`).MatchString(text) {
				t.Errorf("%q: the network reaches %s", text, l.Address)
			}
		}
	}
}

// So does the example that is installed, in which each setting stands behind #.
func TestOptionsAreThoseOfTheExample(t *testing.T) {
	text, err := os.ReadFile("/usr/share/doc/mosquitto/examples/mosquitto.conf")
	if err != nil {
		t.Skip("the example of mosquitto.conf is not installed")
	}
	known, n := options(), 0
	for _, m := range regexp.MustCompile(`(?m)^#([a-z][a-z0-9_.]*)`).FindAllSubmatch(text, -1) {
		n++
		if _, found := known[string(m[1])]; !found {
			t.Errorf("the example has %q, which nobody knows here", m[1])
		}
	}
	if n < 80 {
		t.Errorf("the example has %d settings only: the test does not test", n)
	}
}
