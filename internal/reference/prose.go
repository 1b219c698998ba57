package main

import (
	"regexp"
	"strings"
)

// named is a document, as comments and help name it.
var named = regexp.MustCompile(`docs/([A-Z0-9-]+\.md)(#[\w-]+)?`)

// linked makes links of the documents that s names. Those of docs lie beside the
// reference.
func linked(s string) string { return named.ReplaceAllString(s, "[$1]($1$2)") }

// prose is text of a comment as Markdown, in one line that may stand in a table.
// What stands between backquotes there stays as it is.
func prose(s string) string {
	parts := strings.Split(strings.Join(strings.Fields(s), " "), "`")
	escape := strings.NewReplacer("*", `\*`, "<", "&lt;", "|", `\|`)
	for i, p := range parts {
		if i%2 == 0 || i == len(parts)-1 {
			parts[i] = linked(escape.Replace(p))
		} else {
			parts[i] = strings.ReplaceAll(p, "|", `\|`)
		}
	}
	return strings.Join(parts, "`")
}

// paragraphs is text of a comment of several lines as Markdown: empty lines part
// paragraphs, and lines that are set in are shown as they are.
func paragraphs(s string) string {
	var out, running, fixed []string
	flush := func() {
		if len(running) > 0 {
			out = append(out, prose(strings.Join(running, " ")))
		}
		if len(fixed) > 0 {
			out = append(out, "```\n"+strings.Join(fixed, "\n")+"\n```")
		}
		running, fixed = nil, nil
	}
	for _, line := range strings.Split(s, "\n") {
		set := strings.HasPrefix(line, "  ")
		if line == "" || set != (len(fixed) > 0) {
			flush()
		}
		switch {
		case set:
			fixed = append(fixed, strings.TrimPrefix(line, "  "))
		case line != "":
			running = append(running, line)
		}
	}
	flush()
	return strings.Join(out, "\n\n") + "\n"
}
