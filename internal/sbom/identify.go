package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// sign is what a text holds if it has a licence in it: all of has, and one of
// or, if there are any; and nothing of lack.
type sign struct {
	id            string
	has, or, lack []string
}

// signs is the licences that may be linked in, told by their own words. A new
// one is added here by somebody who has read it.
func signs() []sign {
	bsd := []string{"redistribution and use in source and binary forms, with or without modification, are permitted"}
	endorse := []string{"used to endorse or promote"}
	advertise := []string{"all advertising materials"}
	return []sign{
		{"Apache-2.0", []string{"apache license version 2.0"}, nil, nil},
		{"BSD-2-Clause", bsd, nil, slices.Concat(endorse, advertise)},
		{"BSD-3-Clause", bsd, endorse, advertise},
		{"EPL-2.0 OR BSD-3-Clause", []string{"under the terms of the eclipse public license v2.0 and eclipse distribution license v1.0"}, nil, nil},
		{"ISC", []string{"permission to use, copy, modify, and"}, []string{"and distribute this software for any purpose", "and/or distribute this software for any purpose"}, nil},
		{"MIT", []string{"permission is hereby granted, free of charge, to any person obtaining a copy", "to deal in the software without restriction"}, nil, nil},
	}
}

var spaces = regexp.MustCompile(`[\s>*#]+`)

// identify is the SPDX expression for a text. It is empty for one that adds to
// a licence beside it: a notice, a grant of patents, or the full text of one of
// two that the licence lets one choose from.
func identify(name string, text []byte) (string, error) {
	for _, prefix := range []string{"notice", "patents", "edl-v10", "epl-v20"} {
		if strings.HasPrefix(strings.ToLower(name), prefix) {
			return "", nil
		}
	}
	words := spaces.ReplaceAllString(strings.ToLower(string(text)), " ")
	in := func(phrase string) bool { return strings.Contains(words, phrase) }
	var ids []string
	for _, s := range signs() {
		missing := slices.ContainsFunc(s.has, func(p string) bool { return !in(p) })
		if !missing && (len(s.or) == 0 || slices.ContainsFunc(s.or, in)) && !slices.ContainsFunc(s.lack, in) {
			ids = append(ids, s.id)
		}
	}
	if len(ids) == 0 {
		return "", errors.New("a licence that internal/sbom does not know; read it, and add it there if it may be linked in")
	}
	return expression(ids), nil
}

// expression joins licences that all hold.
func expression(ids []string) string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > 1 {
		for i, id := range ids {
			if strings.Contains(id, " OR ") {
				ids[i] = "(" + id + ")"
			}
		}
	}
	return strings.Join(ids, " AND ")
}

// licence is the SPDX expression for all of p.
func (p part) licence() string {
	var ids []string
	for _, l := range p.Licences {
		if l.ID != "" {
			ids = append(ids, strings.Split(l.ID, " AND ")...)
		}
	}
	return expression(ids)
}
