// Package testapps has Gin apps that only tests need: the corners of the
// bridge that the demonstration app does not show.
package testapps
