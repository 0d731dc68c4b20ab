-- Deploy rowfs_partitioned:partitions to pg
-- requires: rowfs_core:rowfs_streams rowfs_core:rowfs_notify
--
-- rowfs_core:rowfs_proof, too, is to be there when the functions run; it mends them where they were made before it.
--
-- Tables in partitions of time, by an integer column that counts from 1970: made ahead, dropped when
-- they are old. What has no partition sits in a DEFAULT one until there is. Buckets are UTC.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE TABLE rowfs.partitioned (
	relation   regclass PRIMARY KEY,
	per_second bigint NOT NULL CHECK (per_second > 0), -- 1000000: the column is microseconds
	width      text NOT NULL DEFAULT 'month' CHECK (width IN ('day', 'week', 'month', 'year')),
	ahead      interval NOT NULL DEFAULT '3 months',   -- partitions are made for so long from now
	keep       interval                                -- rows are dropped when they are older; NULL: never
);

-- AT (in UTC) as a value of the column.
CREATE FUNCTION rowfs.partition_bound(per_second bigint, at timestamp) RETURNS bigint
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT (extract(epoch FROM at) * per_second)::bigint;
END;

CREATE FUNCTION rowfs.partition_column(relation regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT quote_ident(a.attname) FROM pg_partitioned_table p
	  JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
	 WHERE p.partrelid = relation;
END;

CREATE FUNCTION rowfs.default_partition(relation regclass) RETURNS regclass LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT partdefid::regclass FROM pg_partitioned_table WHERE partrelid = relation AND partdefid <> 0;
END;

-- The partitions of RELATION, DEFAULT left out, with the values that they are for: from LOWER, below UPPER.
CREATE FUNCTION rowfs.partitions_of(relation regclass)
RETURNS TABLE (part regclass, lower bigint, upper bigint) LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT b.part, b.bounds[1]::bigint, b.bounds[2]::bigint
	  FROM (SELECT c.oid::regclass AS part,
	               regexp_match(pg_get_expr(c.relpartbound, c.oid),
	                            'FROM \(''?(-?\d+)''?\) TO \(''?(-?\d+)''?\)') AS bounds
	          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	         WHERE i.inhparent = relation) b
	 WHERE b.bounds IS NOT NULL ORDER BY 2;
END;

\ir ../functions.sql

COMMIT;
