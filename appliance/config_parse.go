package appliance

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on a config file, far above what one needs: the YAML parser's time
// and stack grow faster than its input.
const (
	maxConfigSize  = 256 * KiB
	maxConfigDepth = 100
)

// LoadConfig reads a config file. The error wraps fs.ErrNotExist if there is
// none, and is a *[ConfigError] if the file is wrong.
func LoadConfig(path string) (Config, error) {
	src, err := readConfig(path)
	if err != nil {
		return Config{}, err
	}
	return ParseConfig(path, src)
}

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read config: %w; \"edgebroker config example\" prints one to start from", err)
		}
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, int64(maxConfigSize)+1))
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return src, nil
}

// ParseConfig reads a configuration in YAML and validates it. What src does
// not set keeps its default, so nothing but comments is [DefaultConfig]; a
// list of listeners replaces the default one. name stands for the source in
// errors. The error is a *[ConfigError] with all problems of src.
func ParseConfig(name string, src []byte) (Config, error) {
	return parseConfig(name, src, func(Config) []finding { return nil })
}

// parseConfig is ParseConfig. Where it finds nothing wrong, more may.
func parseConfig(name string, src []byte, more func(Config) []finding) (Config, error) {
	cfg := DefaultConfig()
	d := &configDecoder{file: name, at: map[string]*token.Position{}, bad: map[string]bool{}}
	if root := d.parse(src); root != nil {
		d.anchors = anchorsOf(root)
		d.into("", root, reflect.ValueOf(&cfg).Elem())
	}
	if !d.broken {
		for i := range cfg.Listeners {
			cfg.Listeners[i].Type = cmp.Or(cfg.Listeners[i].Type, ListenTCP)
		}
		for _, f := range cfg.findings() {
			d.finding(f)
		}
		if len(d.problems) == 0 {
			for _, f := range more(cfg) {
				d.finding(f)
			}
		}
	}
	if err := configError(d.problems); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// parse returns the one document of src; nil if there is none, or if src is
// not YAML.
func (d *configDecoder) parse(src []byte) ast.Node {
	if ByteSize(len(src)) > maxConfigSize {
		return d.reject(nil, fmt.Sprintf("the file is larger than %v; is it a config file?", maxConfigSize))
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if !utf8.Valid(src) {
		return d.reject(firstInvalid(src), "the text is not UTF-8 from here on; save the file as UTF-8")
	}
	tokens := lexer.Tokenize(string(src))
	if pos := tooDeep(tokens); pos != nil {
		return d.reject(pos, fmt.Sprintf("nested more than %d levels deep; is this a config file?", maxConfigDepth))
	}
	file, err := parseYAML(tokens)
	if err != nil {
		var at *token.Position
		what := err.Error()
		if e := yaml.Error(nil); errors.As(err, &e) {
			what = e.GetMessage()
			if t := e.GetToken(); t != nil {
				at = t.Position
			}
		}
		return d.reject(at, "not valid YAML: "+strings.ReplaceAll(what, "\n", " ")+"; check indentation, colons and quotes here and just above")
	}
	return d.document(file)
}

// document picks the document with content and refuses a second one.
func (d *configDecoder) document(file *ast.File) ast.Node {
	var root ast.Node
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil, *ast.NullNode, *ast.DirectiveNode, *ast.CommentGroupNode:
			continue
		}
		if root != nil {
			d.problem(nodeStart(doc.Body), "", "a second document begins here; keep one, without --- in between")
			break
		}
		root = doc.Body
	}
	return root
}

// reject records a problem that leaves nothing to decode.
func (d *configDecoder) reject(at *token.Position, message string) ast.Node {
	d.problem(at, "", message)
	d.broken = true
	return nil
}

// parseYAML is the parser with its panics, of which it has had some on
// malformed input, turned into errors.
func parseYAML(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, fmt.Errorf("the parser gave up (%v)", p)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// tooDeep returns where tokens nest deeper than the parser can be trusted
// with, or nil. Nesting by indentation is bounded by the size of the file.
func tooDeep(tokens token.Tokens) *token.Position {
	flow, line, onLine := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, onLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			onLine++
		}
		if flow > maxConfigDepth || onLine > maxConfigDepth {
			return t.Position
		}
	}
	return nil
}

func firstInvalid(src []byte) *token.Position {
	pos := &token.Position{Line: 1, Column: 1}
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		if r == utf8.RuneError && n == 1 {
			break
		}
		pos.Column++
		if r == '\n' {
			pos.Line, pos.Column = pos.Line+1, 1
		}
		src = src[n:]
	}
	return pos
}
