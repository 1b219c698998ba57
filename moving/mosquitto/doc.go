// Package mosquitto reads the files of mosquitto, an MQTT broker of another
// make: mosquitto.conf and what it includes, the files of passwords and access
// rules, and what its plugin for dynamic security keeps. It splits and checks
// them as versions 1.4 to 2.1 of mosquitto do, and judges nothing.
//
// Files are read whole and within bounds. Nothing of them stays open.
package mosquitto
