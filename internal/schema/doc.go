// Package schema makes JSON Schemas (2020-12) of Go types as encoding/json
// writes them, with what their comments say, for documents that are kept beside
// the source: docs/api/openapi.json and docs/api/cli.json. A type whose JSON it
// does not know is a problem, never a hole.
package schema
