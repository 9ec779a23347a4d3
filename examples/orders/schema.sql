CREATE TABLE IF NOT EXISTS orders (
	id       INTEGER PRIMARY KEY,
	item     TEXT    NOT NULL,
	quantity INTEGER NOT NULL CHECK (quantity > 0),
	created  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
	shipped  TEXT -- NULL until it is
) STRICT;

CREATE INDEX IF NOT EXISTS orders_to_ship ON orders (id) WHERE shipped IS NULL;

-- What a client asked for under a key, which stays when the order changes.
CREATE TABLE IF NOT EXISTS requests (
	key      TEXT    PRIMARY KEY,
	order_id INTEGER NOT NULL REFERENCES orders (id),
	item     TEXT    NOT NULL,
	quantity INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was handed to the carrier. Nothing here forbids two of an order: that
-- there is one only is up to the transaction that claims the order.
CREATE TABLE IF NOT EXISTS shipments (
	id       INTEGER PRIMARY KEY,
	order_id INTEGER NOT NULL REFERENCES orders (id),
	quantity INTEGER NOT NULL,
	shipped  TEXT    NOT NULL
) STRICT;
