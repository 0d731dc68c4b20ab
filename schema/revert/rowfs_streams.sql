-- Revert rowfs:rowfs_streams from pg

BEGIN;

DROP TABLE rowfs.delta, rowfs.summary, rowfs.slice, rowfs.stream;

COMMIT;
