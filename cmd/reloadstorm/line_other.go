//go:build !linux

package main

func needsLinux() string { return "upgrades are for Linux" }

func adoptOrphans() {}

func (s *site) processes() ([]int, error) { return nil, nil }
