-- Deploy rowfs:rowfs_streams to pg
-- requires: rowfs
--
-- Streams of lines: how far each is committed, and what each rows file holds.

BEGIN;

-- One row for each lane of each mount. `off` is the number of its last committed batch; a batch moves
-- it in its own transaction, and only from the value before: a repetition finds it moved.
CREATE TABLE rowfs.stream (
	stream  uuid PRIMARY KEY,
	off     bigint NOT NULL DEFAULT 0,
	touched timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- What a rows file is, seen from its table: see schema/slice.h.
CREATE TABLE rowfs.slice (
	id       bigint PRIMARY KEY,     -- a hash of the definition
	relation text NOT NULL,          -- "schema"."name"
	keys     text[] NOT NULL,        -- expressions over the row r
	line     text NOT NULL,          -- the line's text without its newline, over the row r
	built    boolean NOT NULL DEFAULT false
);

-- Rows and bytes of each file (header left out). What triggers add is first a row of rowfs.delta, so
-- that writers do not wait for each other; rowfs.fold() brings it here.
CREATE TABLE rowfs.summary (
	slice   bigint NOT NULL,
	k1      text COLLATE "C" NOT NULL DEFAULT '',
	k2      text COLLATE "C" NOT NULL DEFAULT '',
	k3      text COLLATE "C" NOT NULL DEFAULT '',
	k4      text COLLATE "C" NOT NULL DEFAULT '',
	rows    bigint NOT NULL,
	bytes   bigint NOT NULL,
	changed timestamptz NOT NULL,
	PRIMARY KEY (slice, k1, k2, k3, k4)
) WITH (fillfactor = 50);

CREATE TABLE rowfs.delta (
	slice   bigint NOT NULL,
	k1      text COLLATE "C" NOT NULL DEFAULT '',
	k2      text COLLATE "C" NOT NULL DEFAULT '',
	k3      text COLLATE "C" NOT NULL DEFAULT '',
	k4      text COLLATE "C" NOT NULL DEFAULT '',
	rows    bigint NOT NULL,
	bytes   bigint NOT NULL,
	changed timestamptz NOT NULL
);
CREATE INDEX delta_file ON rowfs.delta (slice, k1, k2, k3, k4);

COMMIT;
