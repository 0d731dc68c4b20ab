-- Verify rowfs:rowfs_streams on pg

BEGIN;

SELECT stream, off, touched FROM rowfs.stream WHERE false;
SELECT id, relation, keys, line, built FROM rowfs.slice WHERE false;
SELECT slice, k1, k2, k3, k4, rows, bytes, changed FROM rowfs.summary WHERE false;
SELECT slice, k1, k2, k3, k4, rows, bytes, changed FROM rowfs.delta WHERE false;

ROLLBACK;
