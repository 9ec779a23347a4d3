package steer

import (
	"crypto/rand"

	"github.com/quic-go/quic-go"
)

// Mark tells the connection IDs of a process from those of its predecessor and
// its successor: 0 or 1, in turn.
type Mark byte

// Next returns the mark of the successor.
func (m Mark) Next() Mark { return m ^ 1 }

// idLength is the length of our connection IDs, in bytes. A client's own, which
// it uses until it knows one of ours, has 8 at least (RFC 9000, 7.2).
const idLength = 5

// ConnectionIDs returns what generates the connection IDs of a process: their
// first bit is its mark, the rest is random.
func ConnectionIDs(m Mark) quic.ConnectionIDGenerator { return connectionIDs(m) }

type connectionIDs Mark

// GenerateConnectionID implements [quic.ConnectionIDGenerator].
func (c connectionIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	id := make([]byte, idLength)
	if _, err := rand.Read(id); err != nil {
		return quic.ConnectionID{}, err
	}
	id[0] = id[0]&^markBit | byte(c)*markBit
	return quic.ConnectionIDFromBytes(id), nil
}

// ConnectionIDLen implements [quic.ConnectionIDGenerator].
func (connectionIDs) ConnectionIDLen() int { return idLength }

// markBit is where the first byte of an ID has the mark.
const markBit = 0x80
