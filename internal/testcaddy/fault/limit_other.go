//go:build !linux

package fault

func limitDescriptors(string) {}
