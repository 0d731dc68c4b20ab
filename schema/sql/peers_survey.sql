-- The numbers are LIVES and LISTENS of schema/notice/peers.c.
--
-- Anybody may hold such a lock. It counts if his role may read rowfs.notice, or may become one
-- that does: no other can be a mount that tells. A backend that only the table of locks knows, for
-- a moment, is believed.
WITH held AS MATERIALIZED (SELECT l.objid, l.classid OPERATOR(pg_catalog.=)
1919316738::pg_catalog.oid AS listens, a.usesysid FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) a ON a.pid OPERATOR(pg_catalog.=) l.pid
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'
AND l.classid OPERATOR(pg_catalog.=) ANY ('{1919316737,1919316738}'::pg_catalog.oid[])
AND l.objsubid OPERATOR(pg_catalog.=) 2 AND l.pid IS NOT NULL AND l.granted
AND l.mode OPERATOR(pg_catalog.=) 'ShareLock' AND l.database OPERATOR(pg_catalog.=)
(SELECT d.oid FROM pg_catalog.pg_database d
WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())),
trusted AS MATERIALIZED (SELECT u.id FROM (SELECT DISTINCT usesysid FROM held) u(id),
(SELECT pg_catalog.to_regclass('rowfs.notice')::pg_catalog.oid) n(oid) WHERE u.id IS NULL
OR pg_catalog.has_table_privilege(u.id, n.oid, 'SELECT') OR EXISTS (SELECT
FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(u.id, r.oid, 'MEMBER')
AND pg_catalog.has_table_privilege(r.oid, n.oid, 'SELECT'))) SELECT h.objid::pg_catalog.text,
pg_catalog.bool_or(h.listens) FROM held h, trusted t
WHERE h.usesysid OPERATOR(pg_catalog.=) t.id OR (h.usesysid IS NULL AND t.id IS NULL)
GROUP BY h.objid
