// Package page is the dashboard: files for a browser, without data in them.
package page

import "net/http"

// Handler serves the page.
func Handler() http.Handler { return http.NotFoundHandler() }
