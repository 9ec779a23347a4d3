//go:build !linux

package listeners

// withBindCapability runs bind: there are no capabilities.
func withBindCapability(_ uint16, bind func() error) error { return bind() }
