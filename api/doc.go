// Package api holds what the command and a server share: the engines there are, opening a model by
// name, comparing engines on a model. It prints nothing and reads no flags.
package api
