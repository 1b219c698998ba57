package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"strings"
)

// A payload says what it is: kind, publisher, topic or cell, QoS, number; then
// filler that follows from these, and a checksum of it all.
const (
	kindStream  = 'm'
	kindCell    = 'r'
	payloadHead = 1 + 2 + 2 + 1 + 8
	minPayload  = payloadHead + 4
)

// streamPayload is the payload of message n of s, of size bytes or a few more.
func streamPayload(s stream, n uint64, size int) []byte {
	return payload(kindStream, s.publisher, s.topic, s.qos, n, size)
}

// cellPayload is the payload of value n of c; empty if that erases it.
func cellPayload(c cell, n uint64, size int) []byte {
	if erases(n) {
		return nil
	}
	return payload(kindCell, c.publisher, c.index, 0, n, size)
}

func payload(kind byte, publisher, index int, qos byte, n uint64, size int) []byte {
	b := make([]byte, 0, max(size, minPayload)+8)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(publisher))
	b = binary.BigEndian.AppendUint16(b, uint16(index))
	b = append(b, qos)
	b = binary.BigEndian.AppendUint64(b, n)
	filler := rand.NewPCG(n, uint64(publisher)<<32|uint64(index)<<8|uint64(qos))
	for len(b)+4 < size {
		b = binary.BigEndian.AppendUint64(b, filler.Uint64())
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

var errPayload = errors.New("payload is not one of ours, or was damaged on its way")

// readStream is the inverse of streamPayload.
func readStream(b []byte) (stream, uint64, error) {
	kind, publisher, index, qos, n, err := readPayload(b)
	if err == nil && kind != kindStream {
		err = errPayload
	}
	return stream{publisher, index, qos}, n, err
}

// readCell is the inverse of cellPayload for a value that does not erase.
func readCell(b []byte) (cell, uint64, error) {
	kind, publisher, index, _, n, err := readPayload(b)
	if err == nil && kind != kindCell {
		err = errPayload
	}
	return cell{publisher, index}, n, err
}

func readPayload(b []byte) (kind byte, publisher, index int, qos byte, n uint64, err error) {
	if len(b) < minPayload || crc32.ChecksumIEEE(b[:len(b)-4]) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return 0, 0, 0, 0, 0, errPayload
	}
	return b[0], int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:])), b[5], binary.BigEndian.Uint64(b[6:]), nil
}

// Topics: m/TOPIC/PUBLISHER for streams, r/PUBLISHER/INDEX for cells.

func streamTopic(s stream) string { return fmt.Sprintf("m/%d/%d", s.topic, s.publisher) }

// topicFilter covers a topic of all publishers.
func topicFilter(topic int) string { return fmt.Sprintf("m/%d/+", topic) }

func cellTopic(c cell) string { return fmt.Sprintf("r/%d/%d", c.publisher, c.index) }

const cellFilter = "r/#"

// cellOf is the cell whose topic it is.
func cellOf(topic string) (cell, bool) {
	parts := strings.Split(topic, "/")
	if len(parts) != 3 || parts[0] != "r" {
		return cell{}, false
	}
	p, err1 := strconv.Atoi(parts[1])
	i, err2 := strconv.Atoi(parts[2])
	return cell{p, i}, err1 == nil && err2 == nil
}
