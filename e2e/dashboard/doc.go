// Package dashboard holds the tests of the dashboard as people see it: in
// Chromium without a window, against a broker with real MQTT clients. It has no
// code of its own, and lies apart from e2e for the sake of those who build that:
// the browser's protocol takes a while to compile.
//
// The tests take a minute, and as long to build, so they want the build tag
// chromium; they are skipped unless EDGEBROKER_CHROMIUM names a browser, and fail if
// that cannot be run. scripts/dashboard.sh sees to all of that, and makes the
// pictures in docs/screenshots.
package dashboard
